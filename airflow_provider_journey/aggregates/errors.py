"""What is wrong with a query or with what an extract is asked to do, found without asking the service."""

from __future__ import annotations


class QueryError(ValueError):
    """A query, interval or period that cannot be right.

    :param field: the field at fault in the service's spelling, such as ``filter.predicates[0].operator``.
    :param cause: what is wrong with it, and what it could be instead.
    """

    def __init__(self, field: str, cause: str) -> None:
        super().__init__(field, cause)
        self.field = field
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.field}: {self.cause}"
