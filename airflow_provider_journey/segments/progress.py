"""How far an apply has come, in numbers and as a line of the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from airflow_provider_journey.api.exchange import Statistics
from airflow_provider_journey.api.pacing import Standing

# A line that names a contact is personal data: so many are in a task's log, and the rest is counted. One more
# may be in the error that ends it.
MOST_NAMED = 4


@dataclass
class Progress:
    """The figures of one task that applies a plan.

    :param total: changes in the plan, those of other tasks and earlier tries included.
    :param done: changes confirmed, by this and earlier tries.
    :param rejected: changes refused, by this and earlier tries.
    :param calls_left: calls that were still to be made when this task began, others' shares included.
    :param writers: how many tasks share them.
    :param began: the clock's time then, in seconds.
    :param statistics: what the client counts.
    :param calls: calls of the plan that this task has finished with.
    :param outcomes: what came of this task's changes, each answer counted.
    """

    total: int
    done: int
    rejected: int
    calls_left: int
    writers: int
    began: float
    statistics: Statistics
    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._requests_before = self.statistics.calls

    @property
    def requests(self) -> int:
        """How many requests this task has sent."""
        return self.statistics.calls - self._requests_before

    @property
    def left(self) -> int:
        """How many changes have come to no end, as far as this task knows."""
        return self.total - self.done - self.rejected

    def count(self, outcome: str, changes: int) -> None:
        """Count what came of some changes."""
        self.outcomes[outcome] += changes
        if outcome == "done":
            self.done += changes
        elif outcome == "rejected":
            self.rejected += changes

    def line(self, now: float, standing: Standing | None) -> str:
        """Return where things stand, in one line.

        :param now: the clock's time, in seconds.
        :param standing: what the rate limit leaves.
        """
        rate = self.requests / (now - self.began) if now > self.began else 0.0
        parts = [
            f"{self.done + self.rejected:,} of {self.total:,} changes done",
            f"applied {self.done:,}",
            f"rejected {self.rejected:,}",
            f"{rate:.1f} calls/s",
        ]
        if standing is not None:
            left = max(0, standing.allowed - standing.count)
            parts.append(f"budget left in this window {left:,} of {standing.allowed:,}")
        own = self.calls_left / self.writers - self.calls
        if self.calls and own > 0:
            parts.append(f"time left about {duration(own * (now - self.began) / self.calls)}")
        return "; ".join(parts)


class FewNames:
    """Passes on the first few messages that name a contact, and then none.

    :param report: where they go.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._left = MOST_NAMED

    def spend(self, names: int) -> None:
        """Take down that the log names so many contacts already."""
        self._left = max(0, self._left - names)

    def tell(self, message: str) -> None:
        """Pass a message on, if it is one of the first."""
        if self._left > 0:
            self._left -= 1
            more = "" if self._left else " (further ones are counted, not shown)"
            self._report(f"{message}{more}")


def duration(seconds: float) -> str:
    """Return ``seconds`` as a person says it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
