"""A plan in words: what the log shows and a person approves. It names no contact."""

from __future__ import annotations

from airflow_provider_journey.segments.progress import duration
from airflow_provider_journey.segments.summary import PlanSummary

# So many segments are listed; with hundreds, the sums say more.
_MOST_SEGMENTS = 20


def describe(summary: PlanSummary) -> str:
    """Return a plan's figures as Markdown that reads well as plain text too."""
    lines = [
        f"Plan `{summary.plan_hash[:12]}` of run `{summary.run}`, mode {summary.mode}, from version "
        f"{summary.base} of the ledger.",
        "",
        f"- audience: {summary.rows:,} rows, {summary.invalid:,} of them invalid, {summary.duplicates:,} "
        f"said twice; {summary.pairs:,} pairs of contact and segment",
        *_people(summary),
        f"- assign {summary.assign:,}, take away {summary.unassign:,}, renew {summary.renew:,}; "
        f"unchanged {summary.unchanged:,}",
        f"- left open by earlier runs and sent now {summary.carried_forward:,}, of which {summary.unknown:,} "
        f"in doubt; given up {summary.given_up:,}",
        f"- {summary.calls:,} calls, about {duration(summary.seconds)} at {summary.calls_per_minute:,.0f} "
        "a minute",
        "",
    ]
    for segment_id, each in list(summary.segments.items())[:_MOST_SEGMENTS]:
        lines.append(
            f"- segment `{segment_id}`: {each['members']:,} known members, assign {each['assign']:,}, "
            f"take away {each['unassign']:,}, renew {each['renew']:,}"
        )
    if (more := len(summary.segments) - _MOST_SEGMENTS) > 0:
        lines.append(f"- and {more:,} more segments")
    return "\n".join(lines)


def _people(summary: PlanSummary) -> list[str]:
    if not summary.people:
        return []
    return [
        f"- people: {summary.people:,}, of whom {summary.lookups:,} were looked up now in "
        f"{summary.lookup_calls:,} calls; unknown {summary.unknown_people:,}, left for the next run "
        f"{summary.unresolved:,}; not taken away because of either {summary.held_back:,}"
    ]
