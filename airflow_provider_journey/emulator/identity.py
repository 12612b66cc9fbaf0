"""Ids: UUIDs that follow from the seed, made alike in Python and in SQL."""

from __future__ import annotations

import hashlib


def digest(*parts: object) -> str:
    """Give 32 hexadecimal digits that follow from the parts."""
    text = ":".join(map(str, parts))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def number(*parts: object) -> int:
    """Give a number of 60 bits that follows from the parts."""
    return int(digest(*parts)[:15], 16)


def make_id(*parts: object) -> str:
    """Give a UUID of version 4's looks that follows from the parts."""
    h = digest(*parts)
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"


def sql_id(prefix: str, *expressions: str) -> str:
    """Give the SQL expression which makes the same id as :func:`make_id`.

    :param prefix: the constant leading part or parts, joined by ``:``.
    :param expressions: SQL of the parts that differ by row.
    :returns: an expression of type VARCHAR.
    """
    h = f"md5(concat_ws(':', '{prefix}', {', '.join(expressions)}))"
    pieces = [f"left({h}, 8)", f"substr({h}, 9, 4)", f"'4' || substr({h}, 14, 3)"]
    pieces += [f"'a' || substr({h}, 18, 3)", f"substr({h}, 21)"]
    return f"concat_ws('-', {', '.join(pieces)})"
