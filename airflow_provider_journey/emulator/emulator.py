"""One emulator: all of its state in one place."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow_provider_journey.emulator.aggregates import Aggregates
from airflow_provider_journey.emulator.calls import CallLog
from airflow_provider_journey.emulator.catalogue import Catalogue
from airflow_provider_journey.emulator.clock import Clock
from airflow_provider_journey.emulator.events import Events
from airflow_provider_journey.emulator.faults import FaultPlan
from airflow_provider_journey.emulator.identity import digest, make_id
from airflow_provider_journey.emulator.jobs import Jobs
from airflow_provider_journey.emulator.limits import RateLimiter
from airflow_provider_journey.emulator.oauth import OAuth
from airflow_provider_journey.emulator.options import ClientSpec, Options
from airflow_provider_journey.emulator.state import Contacts
from airflow_provider_journey.emulator.targets import ActionTargets


class Emulator:
    """Everything that a run knows; making one generates its data.

    :param options: the switches.
    :param clock: the clock that everything goes by.
    """

    def __init__(self, options: Options, clock: Clock | None = None) -> None:
        self.options = options
        self.clock = clock or Clock()
        seed = options.seed
        self.default_client = ClientSpec(make_id(seed, "client"), digest(seed, "secret"))
        self.oauth = OAuth((self.default_client, *options.clients), options.token_lifetime, self.clock)
        self.limiter = RateLimiter(options.rate_limit, options.window, self.clock)
        self.faults = FaultPlan(options.faults, seed)
        self.calls = CallLog()
        self.catalogue = Catalogue(seed)
        self.contacts = Contacts(self.catalogue, options.contacts, self.clock)
        self.targets = ActionTargets(self.catalogue, self.clock)
        self.events = Events(self.catalogue, options, self.clock)
        self.aggregates = Aggregates(self.events)
        self.jobs = Jobs(self.aggregates, self.clock)

    def close(self) -> None:
        """Let go of workers and event table."""
        self.aggregates.close()
        self.events.connection.close()

    def describe(self, base_url: str) -> dict[str, Any]:
        """Say how to reach the emulator, and what there is to ask for.

        :param base_url: the address by which the asker reaches it.
        :returns: the document that ``GET /emulator`` answers.
        """
        client = self.default_client
        return {
            "connection_uri": connection_uri(base_url, client),
            "base_url": base_url,
            "client_id": client.client_id,
            "client_secret": client.secret,
            "examples": self._examples(),
            "clients": [
                {"client_id": c.client_id, "client_secret": c.secret, "permissions": c.permissions}
                for c in self.oauth.clients.values()
            ],
            "segments": [
                {"id": s.id, "name": s.name, "scope": s.scope, "organic": s.organic}
                for s in self.catalogue.segments
            ],
            "inactive_segments": [{"id": self.catalogue.retired.id, "name": self.catalogue.retired.name}],
            "identifiers": self._identifiers(),
            "external_source_id": self.catalogue.external_source,
            "surface": self.options.surface,
            "contacts": len(self.contacts.ids),
            "rate_limit": self.limiter.allowed,
            "window": self.limiter.seconds,
        }

    def _examples(self) -> dict[str, str]:
        contact = self._populated_contact()
        return {
            "external_contact_id": self.contacts.ids[contact],
            "segment_id": self.catalogue.segments[0].id,
            "session_id": self.contacts.sessions[contact],
            "customer_id_type": "email",
            "customer_id": self.contacts.customer_ids(contact)["email"],
            "action_target_id": next(iter(self.targets.items)),
        }

    def _identifiers(self) -> dict[str, str]:
        """Give the example contact's identifiers, by the types of today's look-up."""
        contact = self._populated_contact()
        known = {kind.capitalize(): name for kind, name in self.contacts.customer_ids(contact).items()}
        return {**known, "ExternalId": self.contacts.external_id(contact)}

    def _populated_contact(self) -> int:
        """Find a contact that stays and was in several segments from the start: its first read shows some."""
        contacts = range(min(len(self.contacts.ids), 200))
        stays = [contact for contact in contacts if not self.contacts.is_ephemeral(contact)]
        return max(stays or contacts, key=self.contacts.initial_count)


def connection_uri(base_url: str, client: ClientSpec) -> str:
    """Give the Airflow connection URI, scheme and port of the address quoted into the host.

    :param base_url: such as ``http://127.0.0.1:8765``.
    :param client: whose id and secret it carries.
    :returns: a value for ``AIRFLOW_CONN_…``.
    """
    login, password = quote(client.client_id, safe=""), quote(client.secret, safe="")
    return f"journey://{login}:{password}@{quote(base_url, safe='')}"
