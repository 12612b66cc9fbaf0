"""People who are known by an e-mail address, a phone number or an id of another system.

A row may fill one column that says who it is about. What it says never leaves this machine but towards the
service: everything that is kept knows a person by an HMAC, and a row by its number. An address is trimmed and
nothing else, since nobody has documented that the service takes upper and lower case for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_journey.segments.difference import WRONG_PAIR, says_of, segment_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BLOCK = 64  # bytes that SHA-256 takes at a time
_PLAIN = """
CREATE OR REPLACE TEMP VIEW asked_rows AS
SELECT external_contact_id, segment_id, state, CAST(NULL AS VARCHAR) AS reason, CAST(NULL AS VARCHAR) AS kind,
  CAST(NULL AS VARCHAR) AS identity, CAST(NULL AS BIGINT) AS row
FROM audience_rows
"""
# Who a row is about, if only one column says so, and what is wrong with it as far as that shows without a
# look-up: nobody is looked up for a row that is never sent.
_PEOPLE = """
CREATE OR REPLACE TEMP TABLE people AS
WITH trimmed AS (
  SELECT row_number() OVER () AS row, segment_id, state, {segment} AS segment_text, {says} AS says,
    nullif(trim(external_contact_id, getvariable('space')), '') AS contact,
    nullif(trim(email, getvariable('space')), '') AS email,
    nullif(trim(phone, getvariable('space')), '') AS phone,
    nullif(trim(external_id, getvariable('space')), '') AS external_id,
    nullif(trim(external_source, getvariable('space')), '') AS source
  FROM audience_rows
), named AS (
  SELECT *, (contact IS NOT NULL)::INTEGER + (email IS NOT NULL)::INTEGER + (phone IS NOT NULL)::INTEGER
      + (external_id IS NOT NULL)::INTEGER AS given,
    CASE WHEN email IS NOT NULL THEN 'email' WHEN phone IS NOT NULL THEN 'phone'
      WHEN external_id IS NOT NULL THEN 'external_id' END AS kind,
    coalesce(email, phone, external_id) AS value
  FROM trimmed
), judged AS (
  SELECT *, CASE WHEN given = 0 THEN 'nothing says who this is' WHEN given > 1 THEN 'more than one identity'
      WHEN length(value) > 254 THEN kind || ' is too long'
      WHEN NOT regexp_full_match(email, '[^@\\s]+@[^@\\s]+') THEN 'email is no address'
      WHEN NOT regexp_full_match(phone, '\\+[1-9][0-9]{{6,14}}')
        THEN 'phone is no number as E.164 has it'
      WHEN external_id IS NOT NULL AND source IS NULL THEN 'external_id has no external_source'
      WHEN kind IS NULL THEN NULL {wrong} END AS reason
  FROM named
)
SELECT row, CASE WHEN kind IS NULL THEN contact END AS contact, kind,
  CASE WHEN kind = 'external_id' THEN source END AS source, value, {identity} AS identity, segment_id,
  TRY_CAST(segment_text AS listed) AS segment, state, reason
FROM judged
"""
_IDENTITY = (
    "CASE WHEN kind IS NOT NULL THEN sha256(getvariable('outer_pad') || unhex(sha256(getvariable('inner_pad')"
    " || encode(concat_ws(chr(31), kind, coalesce(source, ''), value))))) END"
)
_IDENTITIES = """
CREATE OR REPLACE TEMP TABLE identities AS
SELECT identity, any_value(kind) AS kind, any_value(source) AS source, any_value(value) AS value
FROM people WHERE kind IS NOT NULL AND reason IS NULL GROUP BY identity
"""
# What is known of each person, once everybody was looked up who could be. Who was known before and was not
# looked up in time is taken for who he was.
_RESOLVED = """
CREATE OR REPLACE TEMP TABLE resolved AS
SELECT i.identity, coalesce(m.canonical_id, k.external_contact_id) AS contact, k.code,
  CASE WHEN k.fresh OR k.outcome = 'found' THEN k.outcome ELSE 'unresolved' END AS outcome, k.looked_up_at
FROM identities AS i LEFT JOIN known_people AS k USING (identity)
LEFT JOIN merges AS m ON m.merged_id = k.external_contact_id
"""
_ASKED = """
CREATE OR REPLACE TEMP TABLE asked_rows AS
SELECT CASE WHEN p.reason IS NOT NULL THEN p.contact
    WHEN p.kind IS NULL THEN coalesce(m.canonical_id, p.contact)
    WHEN r.outcome = 'found' THEN r.contact END AS external_contact_id,
  p.segment_id, p.state,
  coalesce(p.reason, CASE r.outcome WHEN 'refused' THEN 'its look-up was refused: ' || r.code END) AS reason,
  p.kind, p.identity, p.row
FROM people AS p LEFT JOIN resolved AS r ON r.identity = p.identity AND p.reason IS NULL
LEFT JOIN merges AS m ON m.merged_id = p.contact
WHERE p.reason IS NOT NULL OR p.kind IS NULL OR r.outcome IN ('found', 'refused')
"""
# Segments in which somebody may be whose contact nobody knows; and pairs of contacts who were once found by
# what nobody is found by now.
_HELD = """
CREATE OR REPLACE TEMP TABLE held AS
SELECT DISTINCT segment FROM people AS p JOIN resolved AS r USING (identity)
WHERE p.reason IS NULL AND r.outcome = 'unresolved'
"""
_SPARED = """
CREATE OR REPLACE TEMP TABLE spared AS
SELECT DISTINCT r.contact, segment FROM people AS p JOIN resolved AS r USING (identity)
WHERE p.reason IS NULL AND r.outcome IN ('unknown', 'refused') AND r.contact IS NOT NULL
"""
UNKNOWN = (
    "FROM people AS p JOIN resolved AS r USING (identity) SELECT p.row, p.kind, p.identity,"
    " CAST(p.segment AS VARCHAR) AS segment_id, r.looked_up_at"
    " WHERE p.reason IS NULL AND r.outcome = 'unknown' ORDER BY p.row"
)
_COUNTS = """
SELECT count(*), count(*) FILTER (WHERE outcome = 'unknown'), count(*) FILTER (WHERE outcome = 'unresolved'),
  (SELECT count(*) FROM people AS p JOIN resolved AS r USING (identity)
    WHERE p.reason IS NULL AND r.outcome IN ('unknown', 'unresolved'))
FROM resolved
"""


@dataclass(frozen=True)
class PeopleFigures:
    """What became of the people whom an audience knows by something else than a contact's id.

    :param people: how many there are.
    :param unknown_people: of whom the service knows no contact.
    :param unresolved: who could not be looked up in this run, and never were before.
    :param rows_left_out: rows about those two kinds.
    """

    people: int = 0
    unknown_people: int = 0
    unresolved: int = 0
    rows_left_out: int = 0


def use_key(database: DuckDBPyConnection, key: bytes) -> None:
    """Let the engine make HMACs (SHA-256, RFC 2104) with ``key``, 64 bytes at most, by itself."""
    padded = key.ljust(_BLOCK, b"\0")
    for name, byte in (("inner_pad", 0x36), ("outer_pad", 0x5C)):
        database.execute(f"SET VARIABLE {name} = $1::BLOB", [bytes(each ^ byte for each in padded)])


def take_rows(database: DuckDBPyConnection) -> None:
    """Make the view ``asked_rows`` of an audience whose people are all known by contacts' ids.

    :param database: has the view ``audience_rows``.
    """
    database.execute(_PLAIN)
    database.execute("CREATE OR REPLACE TEMP TABLE merges (merged_id VARCHAR, canonical_id VARCHAR)")
    database.execute("CREATE OR REPLACE TEMP TABLE held (segment listed)")
    database.execute("CREATE OR REPLACE TEMP TABLE spared (contact VARCHAR, segment listed)")


def name_people(database: DuckDBPyConnection, segment_ids: Sequence[str], mode: str) -> None:
    """Make the table ``people``, a row for each of the audience's, and ``identities``, who is to be found.

    ``people`` says of each row whom it is about (``contact``, or ``kind``, ``source``, ``value`` and
    ``identity``, their HMAC) and, if it is never sent, for what ``reason``. Rows are numbered from 1 in the
    order in which they were read.

    :param database: has the view ``audience_rows`` and the key of :func:`use_key`.
    """
    row = {"segment": segment_of(segment_ids), "says": says_of(mode)}
    database.execute(_PEOPLE.format(**row, wrong=WRONG_PAIR, identity=_IDENTITY))
    database.execute(_IDENTITIES)


def put_contacts(database: DuckDBPyConnection) -> PeopleFigures:
    """Make the table ``asked_rows``: the rows of ``people`` with the contacts that were found for them.

    Rows about people who are not known, or could not be looked up, are left out. Beside it the tables
    ``held``, segments that a mirror takes nobody from because it does not know whom it would hit, and
    ``spared``, pairs that it leaves as they are.

    :param database: has the tables of :func:`name_people`, ``known_people`` and ``merges``.
    """
    for statement in (_RESOLVED, _ASKED, _HELD, _SPARED):
        database.execute(statement)
    return PeopleFigures(*database.execute(_COUNTS).fetchall()[0])
