"""What a task says about itself: the XCom ``journey_run`` and the extra of its asset events."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_journey.api.async_client import JourneyAsyncClient
    from airflow_provider_journey.api.client import JourneyClient

XCOM_KEY = "journey_run"


class RunReport:
    """Measures one task from the moment it is made, and reports it.

    :param client: whose calls are counted.
    :param calls: how many were made on its account before, in other processes.
    """

    def __init__(self, client: JourneyClient | JourneyAsyncClient, calls: int = 0) -> None:
        self._client = client
        self._earlier = calls
        self._before = client.statistics.copy()
        self._began = time.monotonic()

    def push(
        self, context: Context, kind: str, conn_id: str, *, rows: int, counts: Mapping[str, int], **named: Any
    ) -> None:
        """Push the XCom ``journey_run``, which the Journey page reads.

        :param kind: what kind of task it was, ``extract`` for one that reads, ``sync`` for one that writes.
        :param conn_id: the connection.
        :param rows: how many rows came of it.
        :param counts: whatever else was counted, by name.
        :param named: ``window`` or ``plan_hash``, and ``uri``, of what was done.
        """
        push_run(context, kind, conn_id, rows=rows, counts=counts, effort=self.effort(), **named)

    def effort(self) -> dict[str, Any]:
        """Return what it took so far: ``calls``, ``waited_s``, ``duration_s`` and ``errors``."""
        now = self._client.statistics
        return {
            "calls": self._earlier + now.calls - self._before.calls,
            "waited_s": round(now.waited_s - self._before.waited_s, 3),
            "duration_s": round(time.monotonic() - self._began, 3),
            "errors": dict(now.errors - self._before.errors),
        }


def push_run(
    context: Context,
    kind: str,
    conn_id: str,
    *,
    rows: int,
    counts: Mapping[str, int],
    effort: Mapping[str, Any],
    **named: Any,
) -> None:
    """Push the XCom ``journey_run``; see :meth:`RunReport.push`.

    :param effort: what it took, as :meth:`RunReport.effort` returns it.
    """
    value = {
        "v": 1,
        "kind": kind,
        "conn_id": conn_id,
        **named,
        "rows": rows,
        "counts": dict(counts),
        **effort,
    }
    context["ti"].xcom_push(key=XCOM_KEY, value=value)


def emit_partitions(operator: BaseOperator, context: Context, keys: Sequence[str]) -> None:
    """Give partition keys to the event of every asset that is an outlet, from Airflow 3.3 on."""
    from airflow.sdk import Asset

    for outlet in operator.outlets:
        add = isinstance(outlet, Asset) and getattr(context["outlet_events"][outlet], "add_partitions", None)
        if add:
            add(list(keys))


def extend_outlets(operator: BaseOperator, context: Context, extra: Mapping[str, Any]) -> None:
    """Give every asset that ``operator`` has as an outlet ``extra`` for its event."""
    from airflow.sdk import Asset

    for outlet in operator.outlets:
        if isinstance(outlet, Asset):
            context["outlet_events"][outlet].extra.update(extra)
