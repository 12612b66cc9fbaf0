"""External contacts and who is in which segment.

Contacts are numbered from 0; each has an e-mail address, a phone number, a cookie and one session, so the
three reads of the contract look at the same assignments. Assignments are made up from the seed until somebody
touches a contact, which keeps a hundred thousand contacts cheap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_journey.emulator.catalogue import EXPIRY_DAYS, Catalogue
from airflow_provider_journey.emulator.clock import Clock, format_ms
from airflow_provider_journey.emulator.identity import make_id, number

_DAY_MS = 86_400_000
_EPHEMERAL_DAYS = 60


@dataclass(slots=True)
class Assignment:
    """One segment of one contact; instants are milliseconds since 1970.

    :param assigned: when the present or last assignment began.
    :param modified: when it was last renewed or taken away.
    :param unassigned: when it was taken away; None while it stands.
    """

    assigned: int
    modified: int
    unassigned: int | None = None

    @property
    def expires(self) -> int:
        """The instant at which the assignment ends unless it is renewed."""
        return self.modified + EXPIRY_DAYS * _DAY_MS


class Contacts:
    """The state that segment operations read and change.

    :param catalogue: the segments that exist.
    :param count: how many contacts there are.
    :param clock: the emulator's clock.
    """

    def __init__(self, catalogue: Catalogue, count: int, clock: Clock) -> None:
        self.catalogue = catalogue
        self._clock = clock
        self._born = clock.ms() // _DAY_MS * _DAY_MS
        self._organic = [k for k, segment in enumerate(catalogue.segments) if segment.organic]
        seed = catalogue.seed
        self.ids = [make_id(seed, "contact", k) for k in range(count)]
        self.sessions = [make_id(seed, "session", k) for k in range(count)]
        self._by_id = {name: k for k, name in enumerate(self.ids)}
        self._by_session = {name: k for k, name in enumerate(self.sessions)}
        self._touched: dict[int, dict[int, Assignment]] = {}
        self._gone: set[int] = set()
        self._merged: dict[int, int] = {}

    @property
    def born_ms(self) -> int:
        """The day, in milliseconds since 1970, on which all contacts came into being."""
        return self._born

    def by_id(self, contact_id: str) -> int | None:
        """Find a contact by its id."""
        return self._there(self._by_id.get(contact_id))

    def by_session(self, session_id: str) -> int | None:
        """Find a contact by its session's id."""
        return self._there(self._by_session.get(session_id))

    def by_customer(self, kind: str, value: str) -> int | None:
        """Find a contact by a customer id.

        :param kind: ``email``, ``phone`` or ``cookie``, in any case.
        :param value: the customer id.
        :returns: the contact's number, or None.
        """
        digits = "".join(filter(str.isdigit, value))[-7:] if kind.lower() != "cookie" else value[-12:]
        try:
            contact = int(digits, 16 if kind.lower() == "cookie" else 10)
        except ValueError:
            return None
        known = 0 <= contact < len(self.ids) and self.customer_ids(contact).get(kind.lower()) == value
        return self._there(contact) if known else None

    def by_external_id(self, source: str, value: str) -> int | None:
        """Find a contact by its id in another system.

        :param source: the system's id.
        :param value: the contact's id in it.
        :returns: the contact's number, or None.
        """
        digits = value.removeprefix("CRM-")
        contact = int(digits) if digits.isascii() and digits.isdigit() else -1
        known = 0 <= contact < len(self.ids) and self.external_id(contact) == value
        return self._there(contact) if known and source == self.catalogue.external_source else None

    def external_id(self, contact: int) -> str:
        """Give a contact's id in the organisation's one external source."""
        return f"CRM-{contact:07d}"

    def is_ephemeral(self, contact: int) -> bool:
        """Say whether a contact is only known by its visits: such a one vanishes after 60 days."""
        return number(self.catalogue.seed, "kind", contact) % 10 == 0

    def vanish(self, contact_ids: Iterable[str]) -> None:
        """Let contacts be gone, as ephemeral ones are after 60 days.

        :param contact_ids: their ids.
        :raises KeyError: for an id that nobody has.
        """
        self._gone.update([self._by_id[contact_id] for contact_id in contact_ids])

    def merge(self, contact_id: str, into: str) -> None:
        """Let one contact speak for another; each keeps its record and its assignments.

        :param contact_id: the contact that is merged.
        :param into: the contact that is the canonical one from now on.
        :raises KeyError: for an id that nobody has.
        :raises ValueError: when they are one already.
        """
        source, target = self.canonical(self._by_id[contact_id]), self.canonical(self._by_id[into])
        if source == target:
            raise ValueError("they are one contact already")
        self._merged[source] = target

    def canonical(self, contact: int) -> int:
        """Find the contact which speaks for a contact; most speak for themselves."""
        while contact in self._merged:
            contact = self._merged[contact]
        return contact

    def merge_set(self, contact: int) -> list[int]:
        """List the contacts that were merged with a contact, the canonical one first."""
        head = self.canonical(contact)
        return [head, *(other for other in self._merged if self.canonical(other) == head)]

    def held_now(self, contact: int) -> list[int]:
        """List the numbers of the segments that a contact is in now."""
        held = self.assignments(contact)
        return sorted(key for key, assignment in held.items() if assignment.unassigned is None)

    def customer_ids(self, contact: int) -> dict[str, str]:
        """Give a contact's customer ids by type; the number stands in each, so no index is needed."""
        cookie = make_id(self.catalogue.seed, "cookie")[:-12]
        return {
            "email": f"customer{contact}@example.com",
            "phone": f"+1555{contact:07d}",
            "cookie": f"{cookie}{contact:012x}",
        }

    def assignments(self, contact: int) -> dict[int, Assignment]:
        """Give a contact's assignments by the segment's number, expired ones taken away.

        :param contact: the contact's number.
        :returns: the assignments, present and past, to read only.
        """
        held = self._touched.get(contact)
        if held is None:
            held = self._initial(contact)
        now = self._clock.ms()
        for assignment in held.values():
            if assignment.unassigned is None and assignment.expires <= now:
                assignment.unassigned = assignment.modified = assignment.expires
        return held

    def update(self, contact: int, segment: int, state: str) -> None:
        """Assign or take away one segment; doing so again renews, respectively changes nothing.

        :param contact: the contact's number.
        :param segment: the segment's number.
        :param state: ``Assigned`` or ``Unassigned``.
        """
        held = self._touched.setdefault(contact, self.assignments(contact))
        now = self._clock.ms()
        assignment = held.get(segment)
        if state == "Unassigned":
            if assignment and assignment.unassigned is None:
                assignment.unassigned = assignment.modified = now
        elif assignment and assignment.unassigned is None:
            assignment.modified = now
        else:
            held[segment] = Assignment(now, now)

    def initial_count(self, contact: int) -> int:
        """Say how many segments a contact was in from the start."""
        return len(self._initial(contact))

    def members(self, segment: int | None) -> Iterator[dict[str, Any]]:
        """List every assignment there is or was, the judge's view; state may change between two records.

        :param segment: the segment's number; None for all.
        :returns: one record per contact and segment.
        """
        for contact, contact_id in enumerate(self.ids):
            if self._there(contact) is None:
                continue
            for k, held in list(self.assignments(contact).items()):
                if segment is None or k == segment:
                    yield {
                        "external_contact_id": contact_id,
                        "segment_id": self.catalogue.segments[k].id,
                        "state": "Assigned" if held.unassigned is None else "Unassigned",
                        "date_assigned": format_ms(held.assigned),
                        "date_modified": format_ms(held.modified),
                        "date_unassigned": None if held.unassigned is None else format_ms(held.unassigned),
                        "date_expires": format_ms(held.expires) if held.unassigned is None else None,
                    }

    def _there(self, contact: int | None) -> int | None:
        """Give back a contact that has not vanished."""
        if contact is None or contact in self._gone:
            return None
        old = self._clock.ms() - self._born >= _EPHEMERAL_DAYS * _DAY_MS
        return None if old and self.is_ephemeral(contact) else contact

    def _initial(self, contact: int) -> dict[int, Assignment]:
        bits = number(self.catalogue.seed, "organic", contact)
        chosen = [k for place, k in enumerate(self._organic) if bits >> (3 * place) & 7 < 3]
        since = self._born - (1 + bits % 20) * _DAY_MS
        return {k: Assignment(since, since) for k in chosen}
