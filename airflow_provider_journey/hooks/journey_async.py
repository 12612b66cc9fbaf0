"""The hook for an event loop; :mod:`airflow_provider_journey.hooks.journey` has it under its public name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_journey.api import operations
from airflow_provider_journey.api.async_client import JourneyAsyncClient
from airflow_provider_journey.hooks import DEFAULT_CONN_ID, connection
from airflow_provider_journey.hooks.base import ConnectionHook

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from airflow_provider_journey.api.operations import Entity, SegmentFilter


class JourneyAsyncHook(ConnectionHook):
    """The methods of :class:`JourneyHook` for an event loop: awaited, their iterators asynchronous.

    An asynchronous context manager; :meth:`aclose` closes the connections. Belongs to one event loop.

    :param journey_conn_id: id of the Airflow connection.
    """

    def __init__(self, journey_conn_id: str = DEFAULT_CONN_ID) -> None:
        super().__init__(journey_conn_id)
        self._client: JourneyAsyncClient | None = None

    async def client(self) -> JourneyAsyncClient:
        """Return the client behind the methods, made at first use."""
        if self._client is None:
            from asgiref.sync import sync_to_async

            # In a thread, since that works in workers, triggerers and ``dag.test()`` alike. By asgiref: from
            # any other thread, a question to the supervisor ends the triggerer of Airflow 3.1.
            found = await sync_to_async(self.get_connection)(self.journey_conn_id)
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

    async def submit_aggregates_job(self, query: Any, page_size: int | None = None) -> str:
        """As :meth:`JourneyHook.submit_aggregates_job`."""
        return await self._run(operations.submit_aggregates_job(query, page_size))

    async def get_aggregates_job(self, job_id: str) -> Entity:
        """As :meth:`JourneyHook.get_aggregates_job`."""
        return await self._run(operations.get_aggregates_job(job_id))

    def iter_aggregates_job_results(self, job_id: str) -> AsyncIterator[Entity]:
        """As :meth:`JourneyHook.iter_aggregates_job_results`."""
        return self._iterate(lambda _: operations.iter_aggregates_job_results(job_id))

    async def cancel_aggregates_job(self, job_id: str) -> None:
        """As :meth:`JourneyHook.cancel_aggregates_job`."""
        await self._run(operations.cancel_aggregates_job(job_id))

    async def _run(self, call: operations.Call[operations.T]) -> operations.T:
        return await (await self.client()).run(call)

    async def _iterate(
        self, listing: Callable[[str], operations.Call[operations.Page]]
    ) -> AsyncIterator[Entity]:
        client = await self.client()
        async for entity in client.iterate(listing(client.segments_api)):
            yield entity
