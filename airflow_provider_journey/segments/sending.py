"""One call of a plan: sent, and what comes of it judged change by change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.errors import (
    AuthenticationError,
    InvalidRequestError,
    JourneyError,
    NotFoundError,
    PartialUpdateError,
    PermissionDeniedError,
    RateLimitedError,
    UnsupportedOperationError,
)
from airflow_provider_journey.api.exchange import HaltedError
from airflow_provider_journey.api.redirects import MergedContactError
from airflow_provider_journey.api.retrying import MAX_WAIT
from airflow_provider_journey.segments.calls import PlannedCall
from airflow_provider_journey.segments.journal import RELEASED
from airflow_provider_journey.segments.progress import FewNames, Progress
from airflow_provider_journey.segments.scribe import Scribe
from airflow_provider_journey.segments.surface import Surface

T = TypeVar("T")
_HOPELESS = (AuthenticationError, PermissionDeniedError, UnsupportedOperationError)


@dataclass(frozen=True)
class Verdict(Generic[T]):
    """What is to be done after a call.

    :param again: the part of it that is worth another try in this run.
    :param error: why nothing of it came to an end, if nothing did.
    :param refused: whether that it was refused is its end.
    """

    again: T | None = None
    error: JourneyError | None = None
    refused: bool = False


_OVER: Verdict[PlannedCall] = Verdict()


class Sender:
    """Sends calls (postJourneyExternalcontactSegments, or today's counterpart) and notes what came of them.

    :param client: whom to ask.
    :param scribe: who writes it down.
    :param progress: who counts it.
    :param names: who may name a contact in the log.
    :param kept: returns, of some segments of a contact, those that the run leaves it in; ``None``: what a
        call takes from a merged contact is taken from the one that speaks for it in any case.
    """

    def __init__(
        self,
        client: JourneyAsyncClient,
        scribe: Scribe,
        progress: Progress,
        names: FewNames,
        kept: Callable[[str, Sequence[str]], Awaitable[set[str]]] | None = None,
    ) -> None:
        self._client = client
        self._scribe = scribe
        self._progress = progress
        self._names = names
        self._surface = Surface(client)
        self._kept = kept
        self._halt: asyncio.Future[None] | None = None
        # Segments that were refused of a contact which was not, and not accepted since: what goes with them
        # would be refused too.
        self._suspects: set[str] = set()
        self.begun = 0

    @property
    def full(self) -> bool:
        """Whether what came of too many calls has not been written down."""
        return self._scribe.full

    async def room(self) -> None:
        """Wait while it is full."""
        await self._scribe.room()

    async def send(self, call: PlannedCall, attempt: int, halt: asyncio.Future[None]) -> Verdict[PlannedCall]:
        """Send a call, and note what came of each of its changes.

        :param attempt: the how manieth time in this run.
        :param halt: when it is done, what has not left is held back, and noted as not sent.
        :raises HaltedError: it was.
        :raises JourneyError: the service would answer every other call in the same way; it is noted.
        """
        self._halt = halt
        if self._suspects and call.changes > 1 and (apart := self._apart(call)):
            rest = without(call, apart)
            return await self._in_parts([rest, *apart] if rest.changes else apart, attempt)
        # As planned, or a part: only of a first attempt is everything that was not settled before.
        return await self._send_or_split(call, attempt, whole=attempt == 1)

    def _apart(self, call: PlannedCall) -> list[PlannedCall]:
        """Return the changes of a call that are likely to be refused."""
        return [p for p in one_by_one(call) if self._suspects.intersection(p.assign + p.unassign)]

    async def _send_or_split(self, call: PlannedCall, attempt: int, *, whole: bool) -> Verdict[PlannedCall]:
        """Send a call; if it is refused try each change alone, lest one takes the others with it."""
        try:
            return await self._send(call, attempt, whole=whole)
        except InvalidRequestError as error:
            if call.changes == 1:
                self._refused(call, error, attempt, whole=whole)
                return Verdict(refused=True)
            self._doubt(call, error, attempt, whole=whole)
        return await self._in_parts(one_by_one(call), attempt)

    async def _in_parts(self, parts: list[PlannedCall], attempt: int) -> Verdict[PlannedCall]:
        verdicts = []
        for number, part in enumerate(parts):
            try:
                verdicts.append(await self._send_or_split(part, attempt, whole=False))
            except JourneyError as error:
                for unsent in parts[number + 1 :]:
                    if isinstance(error, HaltedError):
                        self._release(unsent, attempt, whole=False)
                    else:
                        self._note(unsent, "failed", attempt, error, whole=False)
                raise
        refused = [part for part, verdict in zip(parts, verdicts, strict=True) if verdict.refused]
        # Where all are refused it is for the contact's sake.
        if len(refused) < len(parts):
            self._suspects.update(name for part in refused for name in part.assign + part.unassign)
        again = [verdict.again for verdict in verdicts if verdict.again]
        fruitless = all(verdict.error for verdict in verdicts)
        return Verdict(joined(again) if again else None, verdicts[0].error if fruitless else None)

    async def _send(
        self, call: PlannedCall, attempt: int, *, whole: bool, follow: bool = False
    ) -> Verdict[PlannedCall]:
        client = self._client
        self.begun += 1
        try:
            left = await client.run(
                operations.update_external_contact_segments(
                    call.external_contact_id,
                    assign=call.assign,
                    unassign=call.unassign,
                    segments_api=client.segments_api,
                    follow=follow or not call.unassign or self._kept is None,
                ),
                self._halt,
            )
        except InvalidRequestError:
            raise
        except HaltedError as error:
            error.tries -= 1
            if error.tries:
                self._note(call, outcome_of(error), attempt, error, whole=whole)
            else:
                self._release(call, attempt, whole=whole)
            raise
        except MergedContactError as error:
            return await self._send_on(call, error.canonical_id, attempt)
        except NotFoundError as error:
            if (wrong := await self._surface.refute(error)) is not None:
                self._note(call, outcome_of(error), attempt, wrong, whole=whole)
                raise wrong from error
            self._refused(call, error, attempt, whole=whole)
            return Verdict(refused=True)
        except JourneyError as error:
            self._note(call, outcome_of(error), attempt, error, whole=whole)
            if stops_everything(error):
                raise
            return Verdict(call if error.transient else None, error)
        self._surface.prove()
        return self._answered(call, left, attempt, whole=whole)

    async def _send_on(self, call: PlannedCall, canonical_id: str, attempt: int) -> Verdict[PlannedCall]:
        """Send a merged contact's changes to the one that speaks for it, less what that one is to keep.

        What it keeps is no longer the merged one's: that it is taken from there is done.
        """
        kept = await self._kept(canonical_id, call.unassign) if self._kept else set()
        gone = call._replace(assign=(), unassign=tuple(name for name in call.unassign if name in kept))
        if gone.changes:
            self._note(gone, "done", attempt, whole=False)
        rest = call._replace(
            external_contact_id=canonical_id,
            unassign=tuple(name for name in call.unassign if name not in kept),
        )
        return await self._send(rest, attempt, whole=False, follow=True) if rest.changes else _OVER

    def _answered(
        self, call: PlannedCall, left: dict[str, list[str]], attempt: int, *, whole: bool
    ) -> Verdict[PlannedCall]:
        self._suspects.difference_update(call.assign, call.unassign)
        if not left["assign"] and not left["unassign"]:
            self._note(call, "done", attempt, whole=whole)
            return _OVER
        rest = call._replace(assign=tuple(left["assign"]), unassign=tuple(left["unassign"]))
        error = PartialUpdateError(
            f"{rest.changes} of {call.changes} changes of one contact were not processed.",
            status=200,
            code="unprocessed",
            unprocessed=left,
        )
        done = call._replace(
            assign=tuple(name for name in call.assign if name not in rest.assign),
            unassign=tuple(name for name in call.unassign if name not in rest.unassign),
        )
        if done.changes:
            self._note(done, "done", attempt, whole=False)
        self._note(rest, "unprocessed", attempt, error, whole=False)
        return Verdict(rest, None if done.changes else error)

    def _refused(self, call: PlannedCall, error: JourneyError, attempt: int, *, whole: bool) -> None:
        self._doubt(call, error, attempt, whole=whole)
        self._note(call, "rejected", attempt, error, whole=whole)
        self._names.tell(f"refused: {error}")

    def _doubt(self, call: PlannedCall, error: JourneyError, attempt: int, *, whole: bool) -> None:
        """Note that an earlier try of a request may have been carried out before this one was refused."""
        if error.maybe_processed:
            self._note(call, "unknown", attempt, error, whole=whole)

    def _release(self, call: PlannedCall, attempt: int, *, whole: bool) -> None:
        """Note that a call has not left; what earlier passes came to stands."""
        if attempt == 1:
            self._scribe.note(call.number, RELEASED, None if whole else (*call.assign, *call.unassign), 0)

    def _note(
        self, call: PlannedCall, outcome: str, attempt: int, error: JourneyError | None = None, *, whole: bool
    ) -> None:
        segment_ids = None if whole else (*call.assign, *call.unassign)
        attempts = attempt - 1 + (error.tries if error else 1)
        self._scribe.note(call.number, outcome, segment_ids, attempts, error)
        self._progress.count(outcome, call.changes)


def one_by_one(call: PlannedCall) -> list[PlannedCall]:
    """Return each change of a call as one of its own."""
    return [call._replace(assign=(name,), unassign=()) for name in call.assign] + [
        call._replace(assign=(), unassign=(name,)) for name in call.unassign
    ]


def without(call: PlannedCall, parts: list[PlannedCall]) -> PlannedCall:
    """Return what is left of a call when parts of it are sent by themselves."""
    taken = {name for part in parts for name in part.assign + part.unassign}
    return call._replace(
        assign=tuple(name for name in call.assign if name not in taken),
        unassign=tuple(name for name in call.unassign if name not in taken),
    )


def joined(parts: list[PlannedCall]) -> PlannedCall:
    """Return one call for parts of one."""
    return parts[0]._replace(
        assign=tuple(name for part in parts for name in part.assign),
        unassign=tuple(name for part in parts for name in part.unassign),
    )


def outcome_of(error: JourneyError) -> str:
    """Return what is known after a call failed: not done, or nothing."""
    return "unknown" if error.maybe_processed else "failed"


def stops_everything(error: JourneyError) -> bool:
    """Return whether the next call would come to the same, or has to wait longer than a task waits."""
    if isinstance(error, RateLimitedError):
        return error.retry_after is not None and error.retry_after > MAX_WAIT
    return isinstance(error, _HOPELESS) and not error.transient
