"""One run at a time: a lease in the ledger, which a crashed holder loses by itself."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_journey.api.clock import Clock, SystemClock
from airflow_provider_journey.segments.errors import LeaseError
from airflow_provider_journey.segments.runs import RUNS
from airflow_provider_journey.segments.store import Store

DEFAULT_DURATION = timedelta(minutes=30)


class Lease:
    """The right to change a ledger.

    Each lease is an object ``runs/lease-<n>.json`` and the one with the highest number holds. Its owner alone
    overwrites it; whoever finds it expired makes the next number, which one of several can. It belongs to a
    run, not to a process: a retry, or the next task of the same run, takes it up again.

    :param store: where the ledger lives.
    :param owner: the run, named so that a person can find it.
    :param duration: how long it holds without being renewed.
    :param clock: where times come from.
    """

    def __init__(
        self, store: Store, owner: str, *, duration: timedelta = DEFAULT_DURATION, clock: Clock | None = None
    ) -> None:
        self.owner = owner
        self._store = store
        self._duration = duration
        self._clock = clock or SystemClock()

    def acquire(self) -> None:
        """Take the lease, or take it up again, for the full duration.

        :raises LeaseError: another run holds it; the message says which, since when,
            and when it would expire.
        """
        number, found = self._latest()
        now = self._now()
        if found and found["owner"] == self.owner:
            self._store.put_json(_name(number), {**found, "expires": self._expiry(now)})
            return
        if found and datetime.fromisoformat(found["expires"]) > now:
            raise LeaseError(
                f"{found['owner']} has been at work on {self._store} since {found['since']}. If it is dead, "
                f"its lease ends at {found['expires']}."
            )
        content = {"owner": self.owner, "since": now.isoformat(), "expires": self._expiry(now)}
        try:
            self._store.create_json(_name(number + 1), content)
        except FileExistsError:
            raise LeaseError(f"another run has just begun to work on {self._store}") from None
        if found:
            self._store.delete(_name(number))

    def renew(self) -> None:
        """Hold on for another full duration.

        :raises LeaseError: another run took over after this one's lease had expired.
        """
        number, found = self._latest()
        if found is None or found["owner"] != self.owner:
            holder = found["owner"] if found else "nobody"
            raise LeaseError(f"{self.owner} has lost its lease on {self._store}; {holder} holds it")
        self._store.put_json(_name(number), {**found, "expires": self._expiry(self._now())})

    def release(self) -> None:
        """Let others in; nothing if the lease is another's."""
        number, found = self._latest()
        if found and found["owner"] == self.owner:
            self._store.delete(_name(number))

    def _latest(self) -> tuple[int, dict[str, Any] | None]:
        numbers = [
            int(name.removeprefix("lease-").removesuffix(".json"))
            for name in self._store.sizes(RUNS)
            if name.startswith("lease-")
        ]
        number = max(numbers, default=0)
        try:
            return number, self._store.read_json(_name(number)) if number else None
        except FileNotFoundError:  # released since it was listed
            return number, None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), timezone.utc)

    def _expiry(self, now: datetime) -> str:
        return (now + self._duration).isoformat()


def _name(number: int) -> str:
    return f"{RUNS}/lease-{number:08d}.json"
