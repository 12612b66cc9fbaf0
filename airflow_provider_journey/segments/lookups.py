"""Look-ups: who is behind an e-mail address, a phone number or an id of another system, asked one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.api.contacts import merged_ids
from airflow_provider_journey.api.errors import InvalidRequestError, JourneyError, NotFoundError
from airflow_provider_journey.api.exchange import HaltedError
from airflow_provider_journey.segments.allotment import Budget
from airflow_provider_journey.segments.asking import Batches, Effort, tell
from airflow_provider_journey.segments.crew import Crew
from airflow_provider_journey.segments.identity_cache import AnswerWriter
from airflow_provider_journey.segments.lease import Lease
from airflow_provider_journey.segments.sending import Verdict, stops_everything

# Seconds between two looks at whether answers are to be published.
_PAUSE = 0.1
# Statuses that say something of one value, and none where it was not even sent, because it is blank in a way
# that only Python sees; what else is refused would be for everybody.
_REFUSALS = (None, 400, 413, 422)


@dataclass(frozen=True)
class Person:
    """Somebody who is to be found.

    :param identity: the HMAC.
    :param kind: ``email``, ``phone`` or ``external_id``.
    :param source: the external source's id, for an external id.
    :param value: what is looked up; never shown.
    :param former: the contact that once was found.
    """

    identity: str
    kind: str
    source: str | None
    value: str = field(repr=False)
    former: str | None


class Lookups:
    """Looks people up (postExternalcontactsIdentifierlookupContacts); :meth:`run` it once.

    :param client: whom to ask.
    :param read: returns the people at these places of the list, in order; called in a thread.
    :param total: how many there are.
    :param writer: where answers go.
    :param budget: what may be spent.
    :param concurrency: how many are in flight at most.
    :param lease: the ledger's lease, to be kept; ``None``: the caller sees to that.
    :param clock: where moments and waits come from.
    :param report: called with each line of progress.
    """

    def __init__(
        self,
        client: JourneyAsyncClient,
        read: Callable[[int, int], list[Person]],
        total: int,
        writer: AnswerWriter,
        *,
        budget: Budget,
        concurrency: int,
        lease: Lease | None,
        clock: Clock,
        report: Callable[[str], None],
    ) -> None:
        self._writer = writer
        self._lease = lease
        self._clock = clock
        self._report = report
        self.effort = Effort(clock.monotonic(), client.statistics, total)
        self._sender = _Sender(client, writer)
        self._read = read
        self._budget = budget
        self._concurrency = concurrency
        self._crew: Crew[Person] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reason: str | None = None
        self.stopped: str | None = None

    async def run(self) -> None:
        """Ask for everybody, and again for whom a failure may pass that hit him; what is answered is kept.

        :attr:`stopped` then says what ended it early, if anything did.

        :raises JourneyError: the service refuses this client, does not serve look-ups, has an outage, or asks
            for a wait that is longer than a task waits.
        :raises LeaseError: another run took over.
        :raises OSError: the store does not take the answers.
        """
        self._loop = asyncio.get_running_loop()
        feed = Batches(self._read, self.effort.total)
        crew = self._crew = Crew(
            feed, self._sender, self.effort, self._budget, self._concurrency, self._clock
        )
        telling = tell(crew, self._say, self._lease, self._clock)
        aside = [asyncio.ensure_future(task) for task in (self._keep(crew), telling)]
        self._stop_crew()
        try:
            await crew.first_pass()
            await crew.further_passes()
        finally:
            self._loop = None
            for task in aside:
                task.cancel()
            await asyncio.gather(*aside, crew.dismiss(), return_exceptions=True)
            self.stopped = crew.stopped
            await asyncio.to_thread(self._writer.flush)
        self._say()
        if crew.error:
            raise crew.error

    def stop(self, reason: str) -> None:
        """Begin no further look-up; may be called from any thread, and from a signal's handler."""
        self._reason = self._reason or reason
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended meanwhile
                loop.call_soon_threadsafe(self._stop_crew)

    def _stop_crew(self) -> None:
        if self._crew is not None and self._reason:
            self._crew.stop(self._reason)

    async def _keep(self, crew: Crew[Person]) -> None:
        """Publish what comes, until cancelled."""
        while True:
            await self._clock.sleep_async(_PAUSE)
            try:
                if self._writer.due:
                    await asyncio.to_thread(self._writer.flush)
            except OSError as error:
                crew.end(error)

    def _say(self) -> None:
        self._report(self.effort.line(self._clock.monotonic(), self._writer.count, "people looked up"))


class _Sender:
    """Looks one person up, and writes down who it is."""

    def __init__(self, client: JourneyAsyncClient, writer: AnswerWriter) -> None:
        self._client = client
        self._writer = writer
        self.begun = 0

        # Answers are written down as they come.
        self.full = False

    async def room(self) -> None:
        """Return at once."""

    async def send(self, call: Person, attempt: int, halt: asyncio.Future[None]) -> Verdict[Person]:
        """Look a person up.

        :raises HaltedError: ``halt`` came first.
        :raises JourneyError: the service would answer every other look-up in the same way.
        """
        person = call
        self.begun += 1
        # The service's types are these without an underscore, in any case.
        kind = person.kind.replace("_", "")
        try:
            contact = await self._client.run(
                operations.lookup_contact(kind, person.value, person.source), halt
            )
        except InvalidRequestError as error:
            if error.status not in _REFUSALS:
                raise
            code = error.code or type(error).__name__
            self._writer.add(person.identity, "refused", person.former, code=code)
            return Verdict()
        except JourneyError as error:
            if stops_everything(error) or isinstance(error, (HaltedError, NotFoundError)):
                raise
            return Verdict(person if error.transient else None, error)
        if contact is None:
            self._writer.add(person.identity, "unknown", person.former)
        else:
            canonical = operations.canonical_id(contact)
            self._writer.add(person.identity, "found", canonical, merged_ids=merged_ids(contact, canonical))
        return Verdict()
