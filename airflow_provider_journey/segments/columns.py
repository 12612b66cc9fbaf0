"""The columns of an audience, whatever it is read from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from airflow_provider_journey.segments.errors import AudienceError

CONTACT, SEGMENT, STATE = "external_contact_id", "segment_id", "state"
# What a person may be known by instead of the contact's id; an id of another system comes with its source.
EMAIL, PHONE, EXTERNAL_ID = IDENTIFIERS = ("email", "phone", "external_id")
SOURCE = "external_source"
COLUMNS = (CONTACT, *IDENTIFIERS, SOURCE, SEGMENT, STATE)
_NAME = re.compile(r"[A-Za-z_][\w .-]{0,49}")


def required_columns(mode: str, segment_ids: Sequence[str]) -> list[str]:
    """Return the columns that an audience must have, beside one that says who a person is.

    :param mode: ``changes`` needs the state that each row asks for.
    :param segment_ids: with more than one, each row must say which.
    """
    return [*([SEGMENT] if len(segment_ids) > 1 else []), *([STATE] if mode == "changes" else [])]


def places(found: Sequence[str], required: Sequence[str], where: str) -> dict[str, int]:
    """Return at which place each column of an audience stands; upper and lower case are one.

    :param found: the columns' names, in order.
    :param required: the columns that must be there; one that says who a person is must be there in any case.
    :param where: what is read, for the message.
    :raises AudienceError: a required column is missing.
    """
    lowered = [str(name).strip().lower() for name in found]
    missing = [name for name in required if name not in lowered]
    if not names_people(lowered):
        missing.insert(0, f"{CONTACT}, and no {', '.join(IDENTIFIERS)} either")
    elif EXTERNAL_ID in lowered and SOURCE not in lowered:
        missing.insert(0, f"{SOURCE}, which {EXTERNAL_ID} needs")
    if missing:
        # Where a header is missing the first person stands in its place.
        named = (str(each) if _NAME.fullmatch(str(each).strip()) else "(not a name)" for each in found[:20])
        listed = ", ".join(repr(each) for each in named) or "none"
        raise AudienceError(f"{where} has no column {missing[0]}; its columns are: {listed}")
    return {name: lowered.index(name) for name in COLUMNS if name in lowered}


def names_people(columns: Iterable[str]) -> bool:
    """Return whether one of ``columns`` says who a person is."""
    return not {CONTACT, *IDENTIFIERS}.isdisjoint(columns)
