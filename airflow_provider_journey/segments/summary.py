"""A plan in numbers: what a person approves, a guard judges and the UI shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

# What the service documents for one token.
DOCUMENTED_CALLS_PER_MINUTE = 300.0


@dataclass(frozen=True)
class PlanSummary:
    """A plan in numbers, without any contact's id.

    :param run: the run's folder in the ledger.
    :param run_id: whose run it is.
    :param mode: ``changes``, ``upsert`` or ``mirror``.
    :param segment_ids: the segments it is about, sorted.
    :param base: the ledger's version it was made from.
    :param seen: fingerprints of the journals that were known when it was made, by run.
    :param plan_hash: hash over mode, segments, base and all lines.
    :param planned_at: when it was made, ISO-8601 in UTC.
    :param rows: rows of the audience: ``invalid + duplicates + pairs + rows_left_out``.
    :param invalid: rows that are never sent.
    :param duplicates: rows that say again what another one says.
    :param pairs: contacts and segments that the audience names.
    :param assign: changes that assign, renewals apart.
    :param unassign: changes that take away.
    :param renew: assignments that are sent again before they expire.
    :param unchanged: pairs that the audience names and that need nothing.
    :param carried_forward: those of the changes that an earlier run left open, whatever their action.
    :param unknown: those of them which that run may have carried out.
    :param given_up: pairs that are not sent because they were refused too often.
    :param untouched: the ledger's pairs of other segments.
    :param calls: calls the plan takes, the fewest possible.
    :param calls_per_minute: the rate its time is reckoned with: the last seen, or the documented one.
    :param reasons: how many changes have which reason.
    :param segments: for each segment ``members`` (known before: assigned or unknown), ``assign``,
        ``unassign``, ``unassign_members`` (those taken from known members), ``renew``, ``unchanged``.
    :param people: people whom the audience knows by something else than a contact's id.
    :param unknown_people: those of them whom the service does not know.
    :param unresolved: those of them who could not be looked up in time, and never were before.
    :param rows_left_out: rows about unknown and unresolved people.
    :param held_back: pairs that a mirror does not take away, because they may be of such people.
    :param lookups: people who were looked up for this plan.
    :param lookup_calls: requests that took.
    :param lookup_seconds: how long that took.
    :param merged_contacts: contacts of the ledger that others speak for now.
    """

    run: str
    run_id: str
    mode: str
    segment_ids: list[str]
    base: int
    seen: dict[str, str]
    plan_hash: str
    planned_at: str
    rows: int
    invalid: int
    duplicates: int
    pairs: int
    assign: int
    unassign: int
    renew: int
    unchanged: int
    carried_forward: int
    unknown: int
    given_up: int
    untouched: int
    calls: int
    calls_per_minute: float
    reasons: dict[str, int]
    segments: dict[str, dict[str, int]]
    people: int = 0
    unknown_people: int = 0
    unresolved: int = 0
    rows_left_out: int = 0
    held_back: int = 0
    lookups: int = 0
    lookup_calls: int = 0
    lookup_seconds: float = 0.0
    merged_contacts: int = 0

    @property
    def changes(self) -> int:
        """How many changes are sent: one for each line of the plan."""
        return self.assign + self.unassign + self.renew

    @property
    def seconds(self) -> float:
        """How long the calls take at the rate they are reckoned with."""
        return self.calls * 60 / self.calls_per_minute

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON or XCom, the derived figures included."""
        return {"version": 1, **asdict(self), "changes": self.changes, "seconds": self.seconds}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PlanSummary:
        """Return the summary that :meth:`to_dict` gave.

        A figure that it lacks is of a time when there was nothing to count.

        :raises KeyError: a field is missing.
        """
        named = {field.name for field in fields(cls) if field.default is MISSING or field.name in content}
        return cls(**{name: content[name] for name in named})
