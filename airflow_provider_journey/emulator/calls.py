"""What was asked of the emulator: the record by which tests judge a client."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One request that was answered, or cut off.

    :param operation: operation id, ``token`` or ``unknown``.
    :param method: HTTP method.
    :param path: the path as it was sent.
    :param query: query parameters.
    :param body: the request's body; the token endpoint's, which holds a secret, is not kept.
    :param status: HTTP status, or ``reset`` when the connection was cut instead.
    :param headers: request headers; Authorization is left out when they are shown.
    :param token: the how manieth token it carried; None for none that was known.
    """

    operation: str
    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    status: str
    headers: Mapping[str, str]
    token: int | None

    def show(self) -> dict[str, Any]:
        """Give the record as JSON, without the token."""
        return {
            "operation": self.operation,
            "method": self.method,
            "path": self.path,
            "query": dict(self.query),
            "body": self.body.decode(errors="replace"),
            "status": self.status,
            "headers": {k: v for k, v in self.headers.items() if k.lower() != "authorization"},
            "token": self.token,
        }


class CallLog:
    """Counts of everything, and the last thousand requests."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._recent: deque[Record] = deque(maxlen=1000)

    def add(self, record: Record) -> None:
        """Take down a request."""
        self._counts[record.operation, record.status] += 1
        self._recent.append(record)

    def counts(self) -> dict[str, dict[str, int]]:
        """Give the number of calls by operation and status."""
        table: dict[str, dict[str, int]] = {}
        for (operation, status), count in sorted(self._counts.items()):
            table.setdefault(operation, {})[status] = count
        return table

    def recent(self, operation: str | None) -> list[dict[str, Any]]:
        """Give the last requests, oldest first.

        :param operation: only this operation's; None: all.
        :returns: the records.
        """
        return [record.show() for record in self._recent if operation in (None, record.operation)]

    def clear(self) -> None:
        """Forget everything."""
        self._counts.clear()
        self._recent.clear()
