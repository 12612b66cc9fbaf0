"""Answers of look-ups as a ledger keeps them: nothing is lost, the newest holds, and others' stay."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_journey.segments.identity_cache import (
    CHUNK_ANSWERS,
    FLUSH_ANSWERS,
    IdentityCache,
    IdentityKey,
)
from airflow_provider_journey.segments.store import Store
from airflow_provider_journey.storage.database import open_database
from tests.clocks import FakeClock

KEY = IdentityKey.derived("a secret")


class Place:
    """A ledger's folder and a cache in it."""

    def __init__(self, folder, key=KEY):
        self.folder = folder
        self.clock = FakeClock()
        self.store = Store.at(str(folder))
        self.cache = self.another(key)

    def another(self, key=KEY):
        return IdentityCache(self.store, key, timedelta(days=30), self.clock)

    def known(self, *people, compact=False):
        """What is known of people: outcome, contact, and whether that is fresh."""
        with open_database(self.folder, 256) as database:
            database.execute("CREATE TABLE identities AS SELECT unnest($1) AS identity", [list(people)])
            names = self.cache.load(database, self.folder)
            if compact:
                self.cache.compact(database, self.folder, names)
            found = database.execute(
                "SELECT identity, outcome, external_contact_id, fresh FROM known_people"
            ).fetchall()
        return {identity: tuple(rest) for identity, *rest in found}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_of_two_who_write_at_the_same_time_nothing_is_lost_and_the_newest_holds(place):
    one, two = place.cache.writer(), place.another().writer()
    one.add("ann", "found", "contact-1")
    one.add("bob", "unknown")
    one.flush()
    place.clock.sleep(1)
    two.add("ann", "found", "contact-2", merged_ids=["contact-1"])
    two.flush()
    one.add("cy", "found", "contact-3")
    one.flush()
    assert place.known("ann", "bob", "cy", "di") == {
        "ann": ("found", "contact-2", True),
        "bob": ("unknown", None, True),
        "cy": ("found", "contact-3", True),
    }
    assert len(place.cache.names) == 2


def test_what_another_writes_while_objects_are_made_one_stays(place):
    for number in range(9):
        writer = place.cache.writer()
        writer.add(f"person-{number}", "found", f"contact-{number}")
        writer.flush()
    late = place.another().writer()
    late.add("late", "found", "contact")
    load = place.cache.load

    def load_and_be_overtaken(database, directory):
        names = load(database, directory)
        late.flush()
        return names

    place.cache.load = load_and_be_overtaken
    place.known("person-0", compact=True)
    place.cache.load = load
    assert len(place.cache.names) == 2
    assert place.known("person-8", "late").keys() == {"person-8", "late"}


def test_objects_are_of_bounded_size_and_hold_everything(place):
    writer = place.cache.writer()
    people = [f"person-{number}" for number in range(2 * CHUNK_ANSWERS + 10)]
    for place_of, person in enumerate(people, 1):
        writer.add(person, "found", person)
        if place_of % 1000 == 0:
            writer.flush()
    writer.flush()
    assert len(place.cache.names) == 3
    assert len(place.known(*people)) == writer.count == len(people)


def test_answers_that_the_store_did_not_take_are_published_by_the_next_flush(place):
    writer = place.cache.writer()
    writer.add("ann", "found", "contact-1")
    (place.folder / "identities").write_text("in the way")
    with pytest.raises(OSError, match="identities"):
        writer.flush()
    (place.folder / "identities").unlink()
    writer.add("bob", "found", "contact-2")
    writer.flush()
    assert place.known("ann", "bob").keys() == {"ann", "bob"}


def test_answers_are_published_after_so_many_or_after_a_while(place):
    writer = place.cache.writer()
    place.clock.sleep(10)
    assert not writer.due, "nothing has come"
    writer.add("ann", "unknown")
    assert writer.due
    writer.flush()
    writer.add("bob", "unknown")
    assert not writer.due
    for number in range(FLUSH_ANSWERS):
        writer.add(f"person-{number}", "unknown")
    assert writer.due


@pytest.mark.parametrize(
    ("outcome", "days", "fresh"),
    [("found", 22, True), ("found", 30, False), ("unknown", 5.5, True), ("unknown", 7.5, False)],
)
def test_how_long_an_answer_lives(place, outcome, days, fresh):
    writer = place.cache.writer()
    writer.add("ann", outcome, "contact")
    writer.flush()
    place.clock.sleep(days * 86400)
    place.cache = place.another()
    assert place.known("ann")["ann"] == (outcome, "contact", fresh)


def test_a_refusal_holds_for_the_run_that_heard_it_alone(place):
    writer = place.cache.writer()
    writer.add("ann", "refused", code="invalid.value")
    writer.flush()
    assert place.known("ann")["ann"][2] is True
    place.clock.sleep(1)
    place.cache = place.another()
    assert place.known("ann")["ann"][2] is False


def test_keys_that_follow_from_different_secrets_share_nothing():
    other = IdentityKey.derived("another secret")
    assert KEY.mark != other.mark
    assert KEY.identity("email", None, "a@b.c") != other.identity("email", None, "a@b.c")
    assert KEY.identity("external_id", "1", "2") != KEY.identity("external_id", "", "12")
    assert b"a secret" not in KEY.value
