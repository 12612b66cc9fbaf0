"""The two hooks: the same methods, one blocking, one for an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.api.client import JourneyClient
from airflow_provider_journey.hooks import connection

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from airflow_provider_journey.api.operations import Entity, SegmentFilter

DEFAULT_CONN_ID = "journey_default"


class JourneyHook(BaseHook):
    """The Journey API over an Airflow connection of type ``journey``.

    One token and one rate-limit governor per connection serve the whole process. Results are plain dicts
    with the service's own keys. A context manager; :meth:`close` closes the connections.

    All methods raise a :class:`~airflow_provider_journey.api.errors.JourneyError`: ``AuthenticationError``,
    ``PermissionDeniedError``, ``NotFoundError``, ``InvalidRequestError``, ``RateLimitedError``,
    ``ServerError``, ``ConnectionFailedError``, ``ResponseError``, and ``UnsupportedOperationError``, before
    any request, where the connection's ``segments_api`` has no such operation.

    :param journey_conn_id: id of the Airflow connection.
    """

    conn_name_attr = "journey_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "journey"
    hook_name = "Genesys Cloud Journey"

    def __init__(self, journey_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.journey_conn_id = journey_conn_id
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


class JourneyAsyncHook(BaseHook):
    """The methods of :class:`JourneyHook` for an event loop: awaited, their iterators asynchronous.

    An asynchronous context manager; :meth:`aclose` closes the connections. Belongs to one event loop.

    :param journey_conn_id: id of the Airflow connection.
    """

    conn_name_attr = JourneyHook.conn_name_attr
    default_conn_name = DEFAULT_CONN_ID
    conn_type = JourneyHook.conn_type
    hook_name = JourneyHook.hook_name

    def __init__(self, journey_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__()
        self.journey_conn_id = journey_conn_id
        self._client: JourneyAsyncClient | None = None

    async def client(self) -> JourneyAsyncClient:
        """Return the client behind the methods, made at first use."""
        if self._client is None:
            # In a thread, since that works in workers, triggerers and ``dag.test()`` alike.
            found = await asyncio.to_thread(self.get_connection, self.journey_conn_id)
            if self._client is None:
                self._client = JourneyAsyncClient(connection.exchange(connection.read(found), self.log))
        return self._client

    async def aclose(self) -> None:
        """Close the connections to the service."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def get_action_target(self, action_target_id: str) -> Entity:
        """As :meth:`JourneyHook.get_action_target`."""
        return await self._run(operations.get_action_target(action_target_id))

    def list_action_targets(self, page_size: int = 25) -> AsyncIterator[Entity]:
        """As :meth:`JourneyHook.list_action_targets`."""
        return self._iterate(lambda _: operations.list_action_targets(page_size))

    async def update_action_target(
        self,
        action_target_id: str,
        *,
        name: str | None = None,
        service_level: Mapping[str, Any] | None = None,
    ) -> Entity:
        """As :meth:`JourneyHook.update_action_target`."""
        call = operations.update_action_target(action_target_id, name=name, service_level=service_level)
        return await self._run(call)

    def list_customer_segments(
        self, customer_id_type: str, customer_id: str, **filters: Unpack[SegmentFilter]
    ) -> AsyncIterator[Entity]:
        """As :meth:`JourneyHook.list_customer_segments`."""
        return self._iterate(
            lambda api: operations.list_customer_segments(
                customer_id_type, customer_id, segments_api=api, **filters
            )
        )

    def list_external_contact_segments(
        self, external_contact_id: str, **filters: Unpack[SegmentFilter]
    ) -> AsyncIterator[Entity]:
        """As :meth:`JourneyHook.list_external_contact_segments`."""
        return self._iterate(
            lambda api: operations.list_external_contact_segments(
                external_contact_id, segments_api=api, **filters
            )
        )

    def list_session_segments(
        self, session_id: str, **filters: Unpack[SegmentFilter]
    ) -> AsyncIterator[Entity]:
        """As :meth:`JourneyHook.list_session_segments`."""
        return self._iterate(
            lambda api: operations.list_session_segments(session_id, segments_api=api, **filters)
        )

    async def update_external_contact_segments(
        self, external_contact_id: str, *, assign: Iterable[str] = (), unassign: Iterable[str] = ()
    ) -> dict[str, list[str]]:
        """As :meth:`JourneyHook.update_external_contact_segments`."""
        client = await self.client()
        call = operations.update_external_contact_segments(
            external_contact_id, assign=assign, unassign=unassign, segments_api=client.segments_api
        )
        return await client.run(call)

    async def lookup_contact(
        self, identifier_type: str, value: str, external_source: str | None = None
    ) -> Entity | None:
        """As :meth:`JourneyHook.lookup_contact`."""
        return await self._run(operations.lookup_contact(identifier_type, value, external_source))

    def list_segments(self, page_size: int = 100) -> AsyncIterator[Entity]:
        """As :meth:`JourneyHook.list_segments`."""
        return self._iterate(lambda _: operations.list_segments(page_size))

    async def query_aggregates(self, query: Any) -> Entity:
        """As :meth:`JourneyHook.query_aggregates`."""
        return await self._run(operations.query_aggregates(query))

    async def _run(self, call: operations.Call[operations.T]) -> operations.T:
        return await (await self.client()).run(call)

    async def _iterate(
        self, listing: Callable[[str], operations.Call[operations.Page]]
    ) -> AsyncIterator[Entity]:
        client = await self.client()
        async for entity in client.iterate(listing(client.segments_api)):
            yield entity
