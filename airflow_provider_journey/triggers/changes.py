"""Watching for changes, so that DAGs start by them: event triggers for Airflow's ``AssetWatcher``.

Asset("vip", watchers=[AssetWatcher(name="segments", trigger=JourneySegmentChangeTrigger(...))])
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from pendulum import UTC

from airflow_provider_journey.aggregates.calendars import Window
from airflow_provider_journey.aggregates.changes import RecentPartitions, changed
from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.aggregates.templates import leftover_templates
from airflow_provider_journey.api import operations
from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.api.errors import InvalidRequestError, JourneyError
from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.segments.membership import Holder, Look, Membership
from airflow_provider_journey.triggers.polling import Asking, spread
from airflow_provider_journey.triggers.sharing import sharing

if TYPE_CHECKING:
    from airflow_provider_journey.api.operations import Call

INTERVAL = 300.0
# Seconds until an event that was fired is surely written down: only then is what it told of passed over. Who
# is stopped in between fires it a second time.
_SETTLED = 5.0


class ChangeTrigger(BaseEventTrigger):
    """Looks once per interval, and fires an event when something is not as it was at the last look.

    What was seen is kept in the asset's state store, where Airflow has one (3.3): a triggerer that starts
    again goes on from there. Without one, what changes while no triggerer runs goes unnoticed. The very first
    look fires nothing: it is what later ones are compared with. A watcher never ends: whatever the service
    answers it asks again an interval later, and says in the log what is wrong.

    :param interval: seconds between two requests, at least one.
    :param journey_conn_id: id of the connection.
    """

    # Not an argument: those are stored as JSON. Tests put their own in its place.
    clock: ClassVar[Clock] = SystemClock()

    def __init__(self, *, interval: float = INTERVAL, journey_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.interval = float(interval)
        self.journey_conn_id = journey_conn_id
        if not 1 <= self.interval < math.inf:
            raise ValueError(f"A watcher looks at most once a second, and some time: interval={interval!r}.")

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class's path and the arguments that make the same trigger again."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", {
            "interval": self.interval,
            "journey_conn_id": self.journey_conn_id,
            **self.arguments(),
        }

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the arguments beside those of this class, as JSON."""

    @abstractmethod
    def next_call(self, segments_api: str) -> Call[Any]:
        """Return the request to send next."""

    @abstractmethod
    def heard(self, answer: Any) -> dict[str, Any] | None:
        """Take in an answer; return what was seen, as JSON, ``None`` where more has to be asked for it."""

    @abstractmethod
    def difference(self, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any] | None:
        """Return an event's payload, ``None`` where nothing has changed."""

    def begin_anew(self) -> None:
        """Forget the half of an answer that was heard."""
        return

    def _refuse_templates(self) -> None:
        for leftover in leftover_templates(self.serialize()[1], "watcher"):
            raise InvalidRequestError(f"{leftover} holds a template, and nobody renders those of a watcher.")

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch, and fire an event for every change."""
        async with sharing(self.journey_conn_id, self.clock) as connection:
            asking = Asking(connection, self.interval)
            before = await self._recall()
            pause = spread(self.interval)
            while True:
                await self.clock.sleep_async(pause)
                now, pause = await self._look(asking)
                if now is None or now == before:
                    continue
                payload = self.difference(before, now) if before is not None else None
                if payload is not None:
                    yield TriggerEvent(payload)
                    await self.clock.sleep_async(_SETTLED)
                await self._remember(now)
                before = now

    async def _look(self, asking: Asking) -> tuple[dict[str, Any] | None, float]:
        """Send one request; return what was seen, if anything, and the seconds until the next."""
        try:
            client = await asking.client()
            answer = await asking.ask(self.next_call(client.segments_api))
            return None if answer is None else self.heard(answer), self.interval
        except JourneyError as error:
            pause = max(self.interval, error.retry_after or 0.0)
            self.begin_anew()
            # Not raised, whatever it is: Airflow would begin again within a second.
            self.log.error("%s The next try follows in %.0f s.", error, pause)
            return None, pause

    async def _recall(self) -> dict[str, Any] | None:
        store = getattr(self, "asset_state_store", None)
        found = await store.aget(self._key()) if store is not None else None
        return found if isinstance(found, dict) else None

    async def _remember(self, seen: dict[str, Any]) -> None:
        store = getattr(self, "asset_state_store", None)
        if store is not None:
            await store.aset(self._key(), seen)

    def _key(self) -> str:
        """Return the name of what was seen: an asset may have several watchers, and one may be changed."""
        said = json.dumps([type(self).__qualname__, self.arguments()], sort_keys=True)
        return f"journey_{hashlib.sha256(said.encode()).hexdigest()[:16]}"


class JourneySegmentChangeTrigger(ChangeTrigger):
    """Fires when segments are assigned to an external contact, a session or a customer, or taken away.

    The payload is ``{"assigned": [ids], "unassigned": [ids]}``, and names nobody.

    :param segment_ids: ids of the segments that matter, one or several; ``None``: any.
    :param external_contact_id: the contact. Or
    :param session_id: the session. Or
    :param customer_id_type: kind of the customer's id, with
    :param customer_id: the customer's id.
    :param segment_scope: ``Session`` or ``Customer``: assignments of that scope alone.
    :param watching: as for :class:`ChangeTrigger`: ``interval`` (300 s) and ``journey_conn_id``.
    :raises InvalidRequestError: when the DAG is parsed, for what cannot be right.
    """

    def __init__(
        self,
        *,
        segment_ids: str | Sequence[str] | None = None,
        external_contact_id: str | None = None,
        session_id: str | None = None,
        customer_id_type: str | None = None,
        customer_id: str | None = None,
        segment_scope: str | None = None,
        **watching: Any,
    ) -> None:
        super().__init__(**watching)
        ids = [segment_ids] if isinstance(segment_ids, str) else segment_ids
        self.segment_ids = None if ids is None else sorted(Membership(ids).segment_ids)
        self.holder = Holder(external_contact_id, session_id, customer_id_type, customer_id, segment_scope)
        self._listing = Look(self.holder)
        self._refuse_templates()

    def arguments(self) -> dict[str, Any]:
        """Return whom and what it watches."""
        return {"segment_ids": self.segment_ids, **dataclasses.asdict(self.holder)}

    def next_call(self, segments_api: str) -> Call[Any]:
        """Return the request for the next page of what is assigned."""
        return self._listing.next_call(segments_api)

    def heard(self, answer: Any) -> dict[str, Any] | None:
        """Take in a page."""
        if not self._listing.heard(answer):
            return None
        found = self._listing.assigned
        return {"assigned": sorted(found if self.segment_ids is None else found & {*self.segment_ids})}

    def begin_anew(self) -> None:
        """Begin with the first page again."""
        self._listing.end()

    def difference(self, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any] | None:
        """Return which segments came and which went."""
        held, holds = set(before["assigned"]), set(now["assigned"])
        return {"assigned": sorted(holds - held), "unassigned": sorted(held - holds)}


class JourneyAggregateChangeTrigger(ChangeTrigger):
    """Fires when the numbers of a query's last partitions change: a new one is there, or one was corrected.

    One request for all of them (postAnalyticsJourneysAggregatesQuery). The payload is
    ``{"start", "end", "partitions": [names]}``: ``start/end``, from the first partition that has changed to
    the last, in UTC, is the interval for an operator to extract anew.

    :param query: what to ask, an :class:`~airflow_provider_journey.aggregates.query.AggregateQuery` or its
        dict, without an interval; its granularity is the partition.
    :param period: length of a partition: ``P1D``, ``P1W``, ``P1M`` or a time that divides a day.
    :param partitions: how many are watched, the last ones that have ended.
    :param watching: as for :class:`ChangeTrigger`: ``interval`` (300 s) and ``journey_conn_id``.
    :raises QueryError: when the DAG is parsed, for what cannot be right; for a template,
        ``InvalidRequestError``.
    """

    def __init__(
        self,
        *,
        query: AggregateQuery | Mapping[str, Any],
        period: str = "P1D",
        partitions: int = 4,
        **watching: Any,
    ) -> None:
        super().__init__(**watching)
        checked = query if isinstance(query, AggregateQuery) else AggregateQuery.from_dict(query)
        self.query = checked.to_dict()
        self.period = period
        self.partitions = partitions
        self._recent = RecentPartitions.of(checked, period, partitions)
        self._asked: list[Window] = []
        self._refuse_templates()

    def arguments(self) -> dict[str, Any]:
        """Return what it watches."""
        return {"query": self.query, "period": self.period, "partitions": self.partitions}

    def next_call(self, segments_api: str) -> Call[Any]:
        """Return the query for the partitions that are the last ones now."""
        self._asked = self._recent.at(datetime.fromtimestamp(self.clock.time(), tz=timezone.utc))
        return operations.query_aggregates(self._recent.body(self._asked))

    def heard(self, answer: Any) -> dict[str, Any] | None:
        """Take in an answer."""
        return self._recent.prints(self._asked, answer)

    def difference(self, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any] | None:
        """Return which partitions have changed."""
        names = changed(before, now)
        if not names:
            return None
        calendar = self._recent.calendar
        parts = [part for part in self._asked if calendar.key(part) in names]
        start, _, end = Window(parts[0].start, parts[-1].end).text(UTC).partition("/")
        return {"start": start, "end": end, "partitions": names}
