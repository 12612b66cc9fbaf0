"""The emulator's one clock: real time, which a test may move."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?\Z"
)


def parse_instant(text: str) -> datetime:
    """Read an ISO-8601 instant in any of the usual spellings.

    :param text: a date, optionally with time, fraction and offset; UTC where no offset is written.
    :returns: an aware datetime which keeps the offset that was written.
    :raises ValueError: when the text is none.
    """
    found = _INSTANT.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no ISO-8601 date and time")
    day, minute, second, fraction, offset = found.groups()
    local = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}")
    return local.replace(microsecond=int((fraction or "0")[:6].ljust(6, "0")), tzinfo=_zone(offset))


def _zone(offset: str | None) -> timezone:
    if offset in (None, "Z"):
        return timezone.utc
    digits = str(offset)[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return timezone(timedelta(minutes=-minutes if str(offset)[0] == "-" else minutes))


def format_ms(milliseconds: float) -> str:
    """Write an instant as the service does: UTC, milliseconds, ``Z``.

    :param milliseconds: milliseconds since 1970 UTC.
    :returns: such as ``2026-11-22T00:00:00.000Z``.
    """
    whole = int(milliseconds)
    moment = datetime.fromtimestamp(whole // 1000, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{whole % 1000:03d}Z"


class Clock:
    """Real time plus an offset; tokens, windows, assignments and events all go by it.

    :param source: seconds since 1970; replaced in tests of windows.
    """

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self.offset = 0.0

    def time(self) -> float:
        """Give the seconds since 1970."""
        return self._source() + self.offset

    def ms(self) -> int:
        """Give the milliseconds since 1970."""
        return int(self.time() * 1000)

    def set(self, now: str | None) -> None:
        """Let the clock show another time and run on from there.

        :param now: ISO-8601 instant; None: real time.
        :raises ValueError: when the text is no instant.
        """
        self.offset = 0.0 if now is None else parse_instant(now).timestamp() - self._source()
