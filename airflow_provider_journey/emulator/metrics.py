"""The metrics: which events each one counts, sums or tells apart (genesys-cloud.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass

EVENTS = (
    "nJourneySessions",
    "nJourneySegmentsAssigned",
    "nWebActionsQualified",
    "nWebActionsOffered",
    "nWebActionsAccepted",
    "nWebActionsRejected",
    "nWebActionsIgnored",
    "nWebActionsTimedout",
    "nWebActionsStarted",
    "nWebActionsEngaged",
    "nWebActionsAbandoned",
    "nWebActionsErrored",
    "nJourneyActionsBlocked",
    "nWebActionsFrequencyCapReached",
    "nWebActionsQualifiedOutsideSchedule",
    "nWebActionsOfferedOutsideSchedule",
    "nJourneyOutcomesAchieved",
    "nJourneyOutcomesAttributed",
)
CODE = {name: code for code, name in enumerate(EVENTS)}


@dataclass(frozen=True)
class Metric:
    """A metric in terms of the event table.

    :param condition: SQL that says which events it looks at.
    :param value: SQL of an event's value in hundredths; None for a plain count.
    :param distinct: SQL of what is told apart; None where every event counts.
    """

    condition: str
    value: str | None = None
    distinct: str | None = None

    def columns(self) -> list[str]:
        """Give the SQL of count, and of sum, minimum and maximum where the metric has values."""
        chosen = f"FILTER (WHERE {self.condition})"
        if self.distinct is not None:
            return [f"count(DISTINCT {self.distinct}) {chosen}"]
        if self.value is None:
            return [f"count(*) {chosen}"]
        return [f"count({self.value}) {chosen}"] + [
            f"{f}({self.value}) {chosen}" for f in ("sum", "min", "max")
        ]


METRICS: dict[str, Metric] = {name: Metric(f"m = {code}") for name, code in CODE.items()}
METRICS["nDistinctJourneySessions"] = Metric("true", distinct="contact")
METRICS["nDistinctJourneyActions"] = Metric("act IS NOT NULL", distinct="act")
METRICS["oJourneyOutcomeValue"] = Metric(f"m = {CODE['nJourneyOutcomesAchieved']}", value="cents")
METRICS["oJourneyOutcomeTouchpointValue"] = Metric(f"m = {CODE['nJourneyOutcomesAttributed']}", value="cents")
