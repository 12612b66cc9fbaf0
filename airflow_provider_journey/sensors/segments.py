"""Waiting until somebody is in a segment, or is in it no more."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import PokeReturnValue

from airflow_provider_journey.aggregates.templates import is_rendered_later, leftover_templates
from airflow_provider_journey.api.errors import InvalidRequestError
from airflow_provider_journey.hooks import DEFAULT_CONN_ID
from airflow_provider_journey.segments.membership import Holder, Look, Membership
from airflow_provider_journey.sensors.base import JourneySensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_journey.api.client import JourneyClient
    from airflow_provider_journey.triggers.segments import SegmentAssignmentTrigger


class JourneySegmentAssignmentSensor(JourneySensor):
    """Wait until segments are assigned to an external contact, a session or a customer, or are so no more.

    What is assigned now is listed (getJourneyExternalcontactSegments, getJourneySessionSegments,
    getJourneyCustomerCustomerIdSegments; where the connection says ``segments_api=externalcontacts``,
    getExternalcontactsContactJourneySegments, getJourneySession, and a customer's contact is looked up
    first). Returns those of the ids that are assigned.

    :param segment_ids: ids of the segments, one or several; templated.
    :param external_contact_id: the contact; templated. Or
    :param session_id: the session; templated. Or
    :param customer_id_type: kind of the customer's id, for example ``email`` or ``cookie``; templated. With
    :param customer_id: the customer's id; templated.
    :param state: ``Assigned``, or ``Unassigned``: not assigned now, whether it ever was or not.
    :param match: whether ``all`` of the segments have to be in that state, or ``any``.
    :param segment_scope: ``Session`` or ``Customer``: assignments of that scope alone.
    :param journey_conn_id: id of the connection; templated.
    :param sensing: as for :class:`~airflow_provider_journey.sensors.base.JourneySensor`, such as
        ``poke_interval`` (300 s), ``timeout``, ``mode`` and ``deferrable``.
    :raises InvalidRequestError: when the DAG is parsed, for what cannot be right.
    """

    template_fields: Sequence[str] = (
        "segment_ids",
        "external_contact_id",
        "session_id",
        "customer_id_type",
        "customer_id",
        "journey_conn_id",
    )

    def __init__(
        self,
        *,
        segment_ids: str | Sequence[str],
        external_contact_id: str | None = None,
        session_id: str | None = None,
        customer_id_type: str | None = None,
        customer_id: str | None = None,
        state: str = "Assigned",
        match: str = "all",
        segment_scope: str | None = None,
        journey_conn_id: str = DEFAULT_CONN_ID,
        **sensing: Any,
    ) -> None:
        super().__init__(**sensing)
        self.segment_ids = segment_ids
        self.external_contact_id = external_contact_id
        self.session_id = session_id
        self.customer_id_type = customer_id_type
        self.customer_id = customer_id
        self.state = state
        self.match = match
        self.segment_scope = segment_scope
        self.journey_conn_id = journey_conn_id
        self._holder()
        Membership(_stand_ins(segment_ids), state, match)

    def look(self, context: Context, client: JourneyClient) -> PokeReturnValue:
        """List what is assigned, as far as it matters."""
        fields = {name: getattr(self, name) for name in self.template_fields}
        for leftover in leftover_templates(fields, "sensor"):
            raise InvalidRequestError(f"{leftover} still holds a template after rendering.")
        look, wanted = Look(self._holder()), self._wanted()
        complete = False
        while not complete and not wanted.is_settled(look.assigned):
            complete = look.heard(client.run(look.next_call(client.segments_api)))
        return PokeReturnValue(wanted.is_met(look.assigned), wanted.held(look.assigned))

    def trigger(self, context: Context, **polling: Any) -> SegmentAssignmentTrigger:
        """Return the trigger that goes on waiting."""
        from airflow_provider_journey.triggers.segments import SegmentAssignmentTrigger

        wanted = self._wanted()
        return SegmentAssignmentTrigger(
            holder=dataclasses.asdict(self._holder()),
            segment_ids=wanted.segment_ids,
            state=wanted.state,
            match=wanted.match,
            **polling,
        )

    def _holder(self) -> Holder:
        return Holder(
            external_contact_id=self.external_contact_id,
            session_id=self.session_id,
            customer_id_type=self.customer_id_type,
            customer_id=self.customer_id,
            segment_scope=self.segment_scope,
        )

    def _wanted(self) -> Membership:
        ids = [self.segment_ids] if isinstance(self.segment_ids, str) else self.segment_ids
        return Membership(ids, self.state, self.match)


def _stand_ins(segment_ids: str | Sequence[str]) -> Sequence[str]:
    """Return the ids with something in the place of what another task will say."""
    if is_rendered_later(segment_ids):
        return ["later"]
    ids = [segment_ids] if isinstance(segment_ids, str) else segment_ids
    return ["later" if is_rendered_later(each) else each for each in ids]
