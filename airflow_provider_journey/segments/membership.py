"""Who holds which segments, and whether that is what somebody waits for: decided here, however they wait."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.endpoints import JOURNEY
from airflow_provider_journey.api.errors import InvalidRequestError, ResponseError

if TYPE_CHECKING:
    from airflow_provider_journey.api.operations import Call, Page

STATES = ("Assigned", "Unassigned")
MATCHES = ("all", "any")
# The most that each surface lists in one answer.
_JOURNEY_PAGE, _CONTACT_PAGE = 200, 500


@dataclass(frozen=True)
class Holder:
    """Whose segments are meant: an external contact's, a session's or a customer's, exactly one of them.

    :param external_contact_id: the contact.
    :param session_id: the session.
    :param customer_id_type: kind of the customer's id, for example ``email`` or ``cookie``.
    :param customer_id: the customer's id.
    :param segment_scope: ``Session`` or ``Customer``: only assignments of that scope; ``None``: both.
    :raises InvalidRequestError: it is none of them or several, an id is blank, or the scope is another.
    """

    external_contact_id: str | None = None
    session_id: str | None = None
    customer_id_type: str | None = None
    customer_id: str | None = None
    segment_scope: str | None = None

    def __post_init__(self) -> None:
        customer = self.customer_id is not None
        given = [self.external_contact_id is not None, self.session_id is not None, customer]
        if sum(given) != 1 or customer != (self.customer_id_type is not None):
            raise InvalidRequestError(
                "Whose segments? Give one of external_contact_id, session_id, or customer_id with its "
                "customer_id_type."
            )
        for name in ("external_contact_id", "session_id", "customer_id_type", "customer_id"):
            value = getattr(self, name)
            if isinstance(value, str) and not value.strip():
                raise InvalidRequestError(f"{name} is blank.")
        if self.segment_scope not in (None, "Session", "Customer"):
            raise InvalidRequestError(f"segment_scope is Session or Customer, not {self.segment_scope!r}.")

    def listing(self, segments_api: str) -> Call[Page]:
        """Return the first request for what is assigned now.

        (getJourneyExternalcontactSegments, getJourneySessionSegments, getJourneyCustomerCustomerIdSegments,
        or on today's surface getExternalcontactsContactJourneySegments, getJourneySession)

        :param segments_api: the surface that the connection names.
        :raises UnsupportedOperationError: the surface cannot tell.
        """
        filters: operations.SegmentFilter = {
            "segment_scope": self.segment_scope,
            "assignment_state": "Assigned",
            "page_size": _JOURNEY_PAGE if segments_api == JOURNEY else _CONTACT_PAGE,
        }
        if self.external_contact_id is not None:
            return operations.list_external_contact_segments(
                self.external_contact_id, segments_api=segments_api, **filters
            )
        if self.session_id is not None:
            return operations.list_session_segments(self.session_id, segments_api=segments_api, **filters)
        return operations.list_customer_segments(
            self.customer_id_type or "", self.customer_id or "", segments_api=segments_api, **filters
        )


@dataclass(frozen=True)
class Membership:
    """What somebody waits for: that segments are assigned, or that they are not.

    :param segment_ids: the segments, at least one.
    :param state: ``Assigned``, or ``Unassigned``: not assigned now, whether it ever was or not.
    :param match: ``all`` of the segments, or ``any`` of them.
    :raises InvalidRequestError: it is something else.
    """

    segment_ids: Sequence[str]
    state: str = "Assigned"
    match: str = "all"

    def __post_init__(self) -> None:
        ids = self.segment_ids
        if isinstance(ids, str) or not ids or not all(isinstance(each, str) and each.strip() for each in ids):
            raise InvalidRequestError(f"segment_ids is a list of ids, not {ids!r}.")
        for name, value, allowed in (("state", self.state, STATES), ("match", self.match, MATCHES)):
            if value not in allowed:
                raise InvalidRequestError(f"{name} is one of {', '.join(allowed)}, not {value!r}.")

    def held(self, assigned: Collection[str]) -> list[str]:
        """Return which of its segments are ``assigned``, in its own order."""
        return [each for each in self.segment_ids if each in assigned]

    def is_met(self, assigned: Collection[str]) -> bool:
        """Whether somebody who holds exactly the segments ``assigned`` is who is waited for."""
        quantifier = all if self.match == "all" else any
        return quantifier((each in assigned) == (self.state == "Assigned") for each in self.segment_ids)

    def is_settled(self, assigned: Collection[str]) -> bool:
        """Whether more segments beside those ``assigned`` could change nothing any more."""
        everything = {*assigned, *self.segment_ids}
        return self.is_met(assigned) == self.is_met(everything)


class Look:
    """A look at a listing, page by page, again and again.

    :param holder: whose listing it is.
    """

    def __init__(self, holder: Holder) -> None:
        self.assigned: set[str] = set()
        self._holder = holder
        self._segments_api = JOURNEY
        self._first: Call[Page] | None = None
        self._following: Call[Page] | None = None

    def next_call(self, segments_api: str) -> Call[Page]:
        """Return the request for the next page, or for the first one where a look begins."""
        self._segments_api = segments_api
        if self._following is None:
            self.assigned = set()
        return self._following or self._first or self._holder.listing(segments_api)

    def heard(self, page: Page) -> bool:
        """Take in a page; return whether it was the last one, so that ``assigned`` is everything."""
        self.assigned.update(map(_segment_id, page.entities))
        if page.following is not None and not page.entities and self._segments_api != JOURNEY:
            # Who the customer is has been looked up, and need not be another time.
            self._first = page.following
        self._following = page.following
        return page.following is None

    def end(self) -> bool:
        """Begin with the first page next time; return whether another one would have been next."""
        further, self._following = self._following is not None, None
        return further


def _segment_id(entity: dict[str, Any]) -> str:
    segment = entity.get("segment")
    found = segment.get("id") if isinstance(segment, dict) else None
    if not isinstance(found, str) or not found:
        raise ResponseError(f"A listing of segment assignments has one without a segment: {sorted(entity)}.")
    return found
