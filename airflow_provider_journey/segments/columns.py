"""The columns of an audience, whatever it is read from."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_journey.segments.errors import AudienceError

CONTACT, SEGMENT, STATE = COLUMNS = ("external_contact_id", "segment_id", "state")


def required_columns(mode: str, segment_ids: Sequence[str]) -> list[str]:
    """Return the columns that an audience must have.

    :param mode: ``changes`` needs the state that each row asks for.
    :param segment_ids: with more than one, each row must say which.
    """
    return [CONTACT, *([SEGMENT] if len(segment_ids) > 1 else []), *([STATE] if mode == "changes" else [])]


def places(found: Sequence[str], required: Sequence[str], where: str) -> dict[str, int]:
    """Return at which place each column of an audience stands; upper and lower case are one.

    :param found: the columns' names, in order.
    :param required: the columns that must be there.
    :param where: what is read, for the message.
    :raises AudienceError: a required column is missing.
    """
    lowered = [str(name).strip().lower() for name in found]
    for name in required:
        if name not in lowered:
            listed = ", ".join(repr(str(each)[:50]) for each in found[:20]) or "none"
            raise AudienceError(f"{where} has no column {name}; its columns are: {listed}")
    return {name: lowered.index(name) for name in COLUMNS if name in lowered}
