"""What a plan may not do unless somebody allows it, judged before the first call."""

from __future__ import annotations

from airflow_provider_journey.segments.errors import GuardError
from airflow_provider_journey.segments.plan import Plan

DEFAULT_MAX_UNASSIGN_FRACTION = 0.2


def check_guards(
    plan: Plan,
    *,
    allow_empty: bool = False,
    max_unassign_fraction: float = DEFAULT_MAX_UNASSIGN_FRACTION,
    max_unknown_fraction: float | None = None,
) -> None:
    """Refuse a plan whose audience is empty, or too much of it unknown, or which takes away too much.

    :param plan: the plan.
    :param allow_empty: an audience without a single valid row is meant. Rows about people who could not be
        looked up in this run are valid.
    :param max_unassign_fraction: how much of a segment's known members may be taken away, 0 to 1.
    :param max_unknown_fraction: how much of the audience's people the service may not know, 0 to 1; ``None``:
        all of them.
    :raises GuardError: with the numbers, and the parameter that allows it.
    """
    summary = plan.summary
    # Who could not be looked up yet is somebody: that is for the next run to heal, not for a person to allow.
    if not summary.pairs and not summary.unresolved and not allow_empty:
        bad = f" {plan.offenders}." if plan.offenders else ""
        left_out = f", {summary.rows_left_out:,} about people who were not found" if summary.people else ""
        raise GuardError(
            f"The audience is empty: {summary.rows:,} rows, {summary.invalid:,} of them invalid{left_out}."
            f"{bad}",
            "allow_empty",
        )
    unknown = summary.unknown_people / max(1, summary.people)
    if max_unknown_fraction is not None and unknown > max_unknown_fraction:
        raise GuardError(
            f"The service does not know {summary.unknown_people:,} of the audience's {summary.people:,} "
            f"people: more than {100 * max_unknown_fraction:.4g}%.",
            "max_unknown_fraction",
        )
    too_many = [
        f"{each['unassign_members']:,} of the {each['members']:,} known members of {segment_id}"
        for segment_id, each in summary.segments.items()
        # Divided, 29 of 100 is what 0.29 is; multiplied, it would be more.
        if each["unassign_members"] / max(1, each["members"]) > max_unassign_fraction
    ]
    if too_many:
        more = f", and of {len(too_many) - 5} more segments" if len(too_many) > 5 else ""
        allowed = f"{100 * max_unassign_fraction:.4g}%"
        raise GuardError(
            f"The plan takes away {'; '.join(too_many[:5])}{more}: more than {allowed}.",
            "max_unassign_fraction",
        )
