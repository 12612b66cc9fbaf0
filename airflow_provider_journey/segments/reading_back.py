"""One contact of a sample: read back, compared with the ledger, and put right if that is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import NamedTuple

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.clock import Clock
from airflow_provider_journey.api.endpoints import EXTERNAL_CONTACTS
from airflow_provider_journey.api.errors import JourneyError, NotFoundError
from airflow_provider_journey.api.exchange import HaltedError
from airflow_provider_journey.api.redirects import MergedContactError
from airflow_provider_journey.segments.sending import Verdict, stops_everything

Row = dict[str, str | None]


class Known(NamedTuple):
    """What the ledger says of a contact: the segments it is in, and those it was taken from."""

    external_contact_id: str
    assigned: list[str]
    gone: list[str]


@dataclass
class Drift:
    """What verification found.

    :param verified: contacts read back.
    :param unverified: contacts of the sample that were not: they could not be read, or the budget had ended.
    :param drifted: contacts and segments of which the ledger says another thing than the service.
    :param repaired: those of them that the service has confirmed anew.
    """

    verified: int = 0
    unverified: int = 0
    drifted: int = 0
    repaired: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return plain data for XCom."""
        return asdict(self)


class Reader:
    """Reads contacts back, one by one: what a crew sends by.

    :param client: whom to ask.
    :param note: takes down a row of the table of what drifted.
    :param clock: where times come from.
    :param repair: whether it is put right.
    """

    def __init__(
        self, client: JourneyAsyncClient, note: Callable[[Row], None], clock: Clock, *, repair: bool
    ) -> None:
        self._client = client
        self._note = note
        self._clock = clock
        self._repair = repair
        self.drift = Drift()
        self.begun = 0
        # Nothing is written down meanwhile.
        self.full = False

    async def room(self) -> None:
        """Return at once."""

    async def send(self, call: Known, attempt: int, halt: asyncio.Future[None]) -> Verdict[Known]:
        """Read a contact back.

        :raises HaltedError: ``halt`` came first.
        :raises JourneyError: the service would answer every other request in the same way.
        """
        contact = call.external_contact_id
        self.begun += 1
        try:
            held = await self._held(contact, halt)
            missing = [name for name in call.assigned if held is None or name not in held]
            extra = [name for name in call.gone if held is not None and name in held]
            if extra and await self._is_merged(contact):
                # What was read back is the other contact's, and is not to be taken from that one.
                extra = []
        except JourneyError as error:
            if stops_everything(error) or isinstance(error, HaltedError):
                raise
            return Verdict(error=error)
        self.drift.verified += 1
        if missing or extra:
            self.drift.drifted += len(missing) + len(extra)
            await self._put_right_and_note(contact, missing, extra, gone=held is None)
        return Verdict()

    async def _put_right_and_note(
        self, contact: str, missing: Sequence[str], extra: Sequence[str], *, gone: bool
    ) -> None:
        repair: dict[str, str] = {}
        try:
            if self._repair and not gone:
                await self._put_right(contact, missing, extra, repair)
        finally:
            now = datetime.fromtimestamp(self._clock.time(), timezone.utc).isoformat()
            absent = "contact not found" if gone else "unassigned"
            found = [(name, "assigned", absent) for name in missing]
            for name, expected, there in found + [(name, "unassigned", "assigned") for name in extra]:
                self._note(
                    {
                        "external_contact_id": contact,
                        "segment_id": name,
                        "expected": expected,
                        "found": there,
                        "repair": repair.get(name),
                        "verified_at": now,
                    }
                )

    async def _held(self, contact: str, halt: asyncio.Future[None]) -> set[str] | None:
        """Return the segments that a contact is in, ``None`` when it is not there any more."""
        call = operations.list_external_contact_segments(
            contact, segments_api=self._client.segments_api, assignment_state="Assigned"
        )
        try:
            return {
                entity["segment"]["id"]
                async for entity in self._client.iterate(call, halt)
                if isinstance(entity.get("segment"), dict)
            }
        except NotFoundError:
            return None

    async def _is_merged(self, contact: str) -> bool:
        """Return whether another contact speaks for this one."""
        if self._client.segments_api != EXTERNAL_CONTACTS:
            return False  # it knows of no merges
        call = operations.list_external_contact_segments(contact, segments_api=EXTERNAL_CONTACTS)
        try:
            await self._client.run(replace(call, request=call.request._replace(follow=False)))
        except MergedContactError:
            return True
        return False

    async def _put_right(
        self, contact: str, missing: Sequence[str], extra: Sequence[str], repair: dict[str, str]
    ) -> None:
        """Send the changes, and put into ``repair`` what came of each."""
        changes = [("assign", name) for name in missing] + [("unassign", name) for name in extra]
        most = operations.MAX_CHANGES
        for some in (changes[start : start + most] for start in range(0, len(changes), most)):
            call = operations.update_external_contact_segments(
                contact,
                assign=[name for kind, name in some if kind == "assign"],
                unassign=[name for kind, name in some if kind == "unassign"],
                segments_api=self._client.segments_api,
            )
            try:
                left = await self._client.run(call)
            except JourneyError as error:
                repair.update((name, error.code or type(error).__name__) for _, name in some)
                if stops_everything(error):
                    raise
                continue
            undone = {*left["assign"], *left["unassign"]}
            repair.update((name, "unprocessed" if name in undone else "done") for _, name in some)
            self.drift.repaired += len(some) - len(undone)
