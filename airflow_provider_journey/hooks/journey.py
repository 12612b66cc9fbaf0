"""The two hooks: the same methods, one blocking, one for an event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.client import JourneyClient
from airflow_provider_journey.hooks import DEFAULT_CONN_ID, connection
from airflow_provider_journey.hooks.base import ConnectionHook
from airflow_provider_journey.hooks.journey_async import JourneyAsyncHook

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from airflow_provider_journey.api.operations import Entity, SegmentFilter

__all__ = ["DEFAULT_CONN_ID", "JourneyAsyncHook", "JourneyHook"]


class JourneyHook(ConnectionHook):
    """The Journey API over an Airflow connection of type ``journey``.

    One token and one rate-limit governor per connection serve the whole process. Results are plain dicts
    with the service's own keys. A context manager; :meth:`close` closes the connections.

    All methods raise a :class:`~airflow_provider_journey.api.errors.JourneyError`: ``AuthenticationError``,
    ``PermissionDeniedError``, ``NotFoundError``, ``InvalidRequestError``, ``RateLimitedError``,
    ``ServerError``, ``ConnectionFailedError``, ``ResponseError``, and ``UnsupportedOperationError``, before
    any request, where the connection's ``segments_api`` has no such operation.

    :param journey_conn_id: id of the Airflow connection.
    """

    def __init__(self, journey_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__(journey_conn_id)
        self._client: JourneyClient | None = None

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form fields of the connection's extras: 3.1 asks here, 3.2 the provider's info."""
        return connection.form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return labels and placeholders of the connection's standard fields, for Airflow 3.1."""
        return connection.field_behaviour()

    @property
    def client(self) -> JourneyClient:
        """The client behind the methods, made at first use."""
        if self._client is None:
            settings = connection.read(self.get_connection(self.journey_conn_id))
            self._client = JourneyClient(connection.exchange(settings, self.log))
        return self._client

    def get_conn(self) -> JourneyClient:
        """Return the client behind the methods."""
        return self.client

    def close(self) -> None:
        """Close the connections to the service."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def test_connection(self) -> tuple[bool, str]:
        """Get a token and read once of each kind.

        :return: whether the connection is of use, and which of credentials, region, permission, network or
            segments_api is wrong where it is not; with a token, what the client may and may not do.
        """
        return connection.test(self.get_connection, self.journey_conn_id)

    def get_action_target(self, action_target_id: str) -> Entity:
        """Retrieve one action target (getJourneyActiontarget)."""
        return self.client.run(operations.get_action_target(action_target_id))

    def list_action_targets(self, page_size: int = 25) -> Iterator[Entity]:
        """Iterate over all action targets, ``page_size`` (1 to 200) a request (getJourneyActiontargets)."""
        return self.client.iterate(operations.list_action_targets(page_size))

    def update_action_target(
        self,
        action_target_id: str,
        *,
        name: str | None = None,
        service_level: Mapping[str, Any] | None = None,
    ) -> Entity:
        """Change an action target and return it as it is now (patchJourneyActiontarget).

        :param action_target_id: the target.
        :param name: its new name; ``None`` leaves it.
        :param service_level: ``{"percentage": 0..1, "durationMs": milliseconds}``; ``None`` leaves it.
        """
        call = operations.update_action_target(action_target_id, name=name, service_level=service_level)
        return self.client.run(call)

    def list_customer_segments(
        self, customer_id_type: str, customer_id: str, **filters: Unpack[SegmentFilter]
    ) -> Iterator[Entity]:
        """Iterate over a customer's segment assignments (getJourneyCustomerCustomerIdSegments).

        :param customer_id_type: kind of id, for example ``email``, ``phone`` or ``cookie``.
        :param customer_id: the id.
        :param filters: ``segment_scope`` (``Session`` or ``Customer``), ``assignment_state`` (``Assigned`` or
            ``Unassigned``), ``page_size`` (entities a request, 1 to 200).

        Where ``segments_api`` is ``externalcontacts`` the id is looked up (:meth:`lookup_contact`) and the
        canonical contact's assignments are listed. Assignments that ended are unknown there, so
        ``assignment_state="Unassigned"`` raises ``UnsupportedOperationError`` before any request; an
        assignment that names a session is session-scoped. ``page_size`` is 1 to 500; 500 assignments are all
        that can be listed, and a contact that has so many raises ``ResponseError``. ``include_merged=True``
        adds the assignments of contacts that were merged with this one.
        """
        call = operations.list_customer_segments(
            customer_id_type, customer_id, segments_api=self.client.segments_api, **filters
        )
        return self.client.iterate(call)

    def list_external_contact_segments(
        self, external_contact_id: str, **filters: Unpack[SegmentFilter]
    ) -> Iterator[Entity]:
        """Iterate over an external contact's segment assignments (getJourneyExternalcontactSegments).

        :param external_contact_id: the contact.
        :param filters: as for :meth:`list_customer_segments`.
        """
        call = operations.list_external_contact_segments(
            external_contact_id, segments_api=self.client.segments_api, **filters
        )
        return self.client.iterate(call)

    def list_session_segments(self, session_id: str, **filters: Unpack[SegmentFilter]) -> Iterator[Entity]:
        """Iterate over a session's segment assignments (getJourneySessionSegments).

        Where ``segments_api`` is ``externalcontacts`` they are the session's own ``segmentAssignments``, each
        a ``segment`` and its ``assignedDate`` (getJourneySession); they tell no scope, so ``segment_scope``
        raises ``UnsupportedOperationError``.

        :param session_id: the session.
        :param filters: as for :meth:`list_customer_segments`.
        """
        call = operations.list_session_segments(session_id, segments_api=self.client.segments_api, **filters)
        return self.client.iterate(call)

    def update_external_contact_segments(
        self, external_contact_id: str, *, assign: Iterable[str] = (), unassign: Iterable[str] = ()
    ) -> dict[str, list[str]]:
        """Assign and unassign up to ten segments of one contact (postJourneyExternalcontactSegments).

        :param external_contact_id: the contact.
        :param assign: ids of segments to assign; one that is assigned already has its expiry renewed.
        :param unassign: ids of segments to take away.
        :return: what was not processed, ``{"assign": [ids], "unassign": [ids]}``; both empty: all done.
        """
        call = operations.update_external_contact_segments(
            external_contact_id, assign=assign, unassign=unassign, segments_api=self.client.segments_api
        )
        return self.client.run(call)

    def lookup_contact(
        self, identifier_type: str, value: str, external_source: str | None = None
    ) -> Entity | None:
        """Find the contact an identifier belongs to (postExternalcontactsIdentifierlookupContacts).

        Only where ``segments_api`` is ``externalcontacts``. A contact that was merged into another one names
        that under ``canonicalContact``; changes sent to either reach the canonical one.

        :param identifier_type: ``Email``, ``Phone`` (with ``+`` and country code), ``Cookie``, ``ExternalId``
            or another that the service knows.
        :param value: the identifier; no error repeats it.
        :param external_source: id of the external source, for ``ExternalId``.
        :return: the contact, ``None`` where nobody has the identifier.
        """
        return self.client.run(operations.lookup_contact(identifier_type, value, external_source))

    def list_segments(self, page_size: int = 100) -> Iterator[Entity]:
        """Iterate over the organisation's segments, ``page_size`` (1 to 200) a request (getJourneySegments).

        Only where ``segments_api`` is ``externalcontacts``. Each has ``id``, ``displayName``, ``isActive``,
        ``scope`` and, where it ends by itself, ``assignmentExpirationDays``.
        """
        return self.client.iterate(operations.list_segments(page_size))

    def query_aggregates(self, query: Any) -> Entity:
        """Query journey aggregates (postAnalyticsJourneysAggregatesQuery).

        :param query: the request's body as a dict, or anything with ``to_dict()``, such as an
            ``AggregateQuery`` with an interval.
        :return: the response, ``{"results": [...]}``; ``{}`` where there is nothing.
        """
        return self.client.run(operations.query_aggregates(query))

    def submit_aggregates_job(self, query: Any, page_size: int | None = None) -> str:
        """Submit a query as an asynchronous job (postAnalyticsJourneysAggregatesJobs).

        The one request that is not sent again once its bytes were sent, but after a 429 or 503: the service
        takes no idempotency key, so a second one would be a second job.

        :param query: as for :meth:`query_aggregates`.
        :param page_size: results on a page; ``None`` leaves it to the service.
        :return: the job's id.
        """
        return self.client.run(operations.submit_aggregates_job(query, page_size))

    def get_aggregates_job(self, job_id: str) -> Entity:
        """Retrieve how a job stands (getAnalyticsJourneysAggregatesJob).

        :return: ``state`` (``QUEUED``, ``PENDING``, ``FULFILLED``, ``FAILED``, ``CANCELLED``, ``EXPIRED``),
            ``errorMessage``, ``expirationDate``, ``submissionDate``, ``completionDate``.
        """
        return self.client.run(operations.get_aggregates_job(job_id))

    def iter_aggregates_job_results(self, job_id: str) -> Iterator[Entity]:
        """Iterate over a job's result containers (getAnalyticsJourneysAggregatesJobResults).

        A page is asked for when the one before it has been consumed.

        :return: objects with ``group`` and ``data``, as the query's ``results`` hold them.
        """
        return self.client.iterate(operations.iter_aggregates_job_results(job_id))

    def cancel_aggregates_job(self, job_id: str) -> None:
        """Cancel a job, or delete one that has ended (deleteAnalyticsJourneysAggregatesJob)."""
        self.client.run(operations.cancel_aggregates_job(job_id))
