"""A merged contact's address leads on to the contact that speaks for it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_provider_journey.api.errors import ResponseError
from airflow_provider_journey.api.messages import Answer, Request

_REDIRECTS = (301, 302, 307, 308)
_CONTACT = "{contact_id}"


class MergedContactError(ResponseError):
    """The contact was merged into another one, to which the request was not to go on: nothing was done.

    :param canonical_id: the contact that it was merged into.
    """

    def __init__(self, message: str, *, canonical_id: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.canonical_id = canonical_id


def onward(answer: Answer, request: Request) -> Request | None:
    """Return ``request`` for the contact that a redirect names, ``None`` where the answer is none.

    Only the contact's id is taken from it: where requests and tokens go is for the connection to say, and a
    change sent to a merged contact is the same change for the canonical one.

    :raises MergedContactError: it leads on, and the request is not to follow.
    """
    template = request.endpoint.path
    if answer.status not in _REDIRECTS or _CONTACT not in template:
        return None
    before, after = (re.escape(part) for part in template.split(_CONTACT))
    found = re.search(f"{before}([^/]+){after}\\Z", _path(answer.headers.get("location", "")))
    if found is None:
        return None
    canonical_id = unquote(found[1])
    path = request.endpoint.path_for(contact_id=canonical_id)
    if path == request.path:
        return None
    if not request.follow:
        raise MergedContactError(
            f"{request}: this contact was merged into {canonical_id}.",
            canonical_id=canonical_id,
            status=answer.status,
            code="contact.merged",
            correlation_id=answer.correlation_id,
        )
    return request._replace(path=path)


def _path(location: str) -> str:
    try:
        return urlsplit(location).path
    except ValueError:  # not a URI
        return ""
