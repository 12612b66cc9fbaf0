"""Refusals in the service's shape: the body of genesys-cloud.md section 5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ServiceError(Exception):
    """A request that is refused, with all that its answer says.

    :param status: HTTP status.
    :param code: the service's error code.
    :param message: what a person reads; ``{name}`` stands for a parameter.
    :param params: values of the message's parameters.
    :param entity: id and kind of the thing the refusal is about.
    :param details: ``{errorCode, fieldName, entityId, entityName}`` entries.
    :param limit: ``{key, namespace, value}`` of a limit that was passed.
    :param headers: further response headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        params: Mapping[str, str] | None = None,
        entity: tuple[str, str] | None = None,
        details: Sequence[Mapping[str, str]] = (),
        limit: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.params = dict(params or {})
        self.entity = entity
        self.details = [dict(detail) for detail in details]
        self.limit = limit
        self.headers = dict(headers or {})

    def body(self, correlation_id: str) -> dict[str, Any]:
        """Give the JSON body.

        :param correlation_id: the request's correlation id, here called ``contextId``.
        :returns: the error document.
        """
        text = self.message
        for name, value in self.params.items():
            text = text.replace("{" + name + "}", value)
        body: dict[str, Any] = {"message": text, "code": self.code, "status": self.status}
        if self.entity:
            body |= {"entityId": self.entity[0], "entityName": self.entity[1]}
        if self.params:
            body |= {"messageWithParams": self.message, "messageParams": self.params}
        body |= {"contextId": correlation_id, "details": self.details, "errors": []}
        if self.limit:
            body["limit"] = dict(self.limit)
        return body


def bad_request(message: str, field: str | None = None, code: str = "bad.request") -> ServiceError:
    """Refuse a request that cannot be right.

    :param message: what is wrong.
    :param field: the field that is wrong.
    :param code: the service's error code.
    :returns: the refusal, to be raised.
    """
    details = [{"errorCode": code, "fieldName": field}] if field else []
    return ServiceError(400, code, message, details=details)


def not_found(kind: str, entity_id: str) -> ServiceError:
    """Refuse a request for something that does not exist.

    :param kind: what was looked for.
    :param entity_id: its id.
    :returns: the refusal, to be raised.
    """
    return ServiceError(
        404,
        "not.found",
        "Unable to find {entityName} with id {entityId}",
        params={"entityName": kind, "entityId": entity_id},
        entity=(entity_id, kind),
    )
