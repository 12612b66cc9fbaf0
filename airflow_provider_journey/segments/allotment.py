"""What one task that applies a plan is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What one task may spend.

    :param max_calls: requests after which no further call is begun; ``None``: any number.
    :param max_duration: seconds after which no further call is begun; ``None``: any time.
    """

    max_calls: int | None = None
    max_duration: float | None = None

    def half(self) -> Budget:
        """Return half of this, rounded up."""
        return Budget(
            None if self.max_calls is None else -(-self.max_calls // 2),
            None if self.max_duration is None else self.max_duration / 2,
        )

    def after(self, calls: int, seconds: float) -> Budget:
        """Return what is left when so much has been spent."""
        return Budget(
            None if self.max_calls is None else max(0, self.max_calls - calls),
            None if self.max_duration is None else max(0.0, self.max_duration - seconds),
        )

    def share(self, share: Share) -> Budget:
        """Return what one of several tasks may spend, so that together they keep to this."""
        if self.max_calls is None:
            return self
        each, rest = divmod(self.max_calls, share.writers)
        return Budget(each + (share.writer < rest), self.max_duration)


@dataclass(frozen=True)
class Share:
    """Which task of how many.

    :param writer: its number, from 0.
    :param writers: how many share the plan.
    """

    writer: int = 0
    writers: int = 1


@dataclass(frozen=True)
class Applied:
    """What one task has done.

    :param total: changes in the plan.
    :param done: changes confirmed, those of earlier tries included.
    :param rejected: changes refused, those of earlier tries included.
    :param requests: requests that this try has sent.
    :param outcomes: how many of this try's answers were ``done``, ``rejected``, ``unprocessed``, ``failed``
        and ``unknown``, in changes.
    :param stopped: what ended it before the plan did; ``None`` when nothing did.
    """

    total: int
    done: int
    rejected: int
    requests: int
    outcomes: dict[str, int]
    stopped: str | None
