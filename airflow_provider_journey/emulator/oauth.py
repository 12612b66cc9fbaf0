"""OAuth clients and their tokens (genesys-cloud.md section 3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from uuid import uuid4

from airflow_provider_journey.emulator.clock import Clock
from airflow_provider_journey.emulator.errors import ServiceError
from airflow_provider_journey.emulator.options import ClientSpec

_BAD_TOKEN = "Invalid login credentials."  # noqa: S105 - a message, no secret


class TokenRefusedError(Exception):
    """A refusal in the token endpoint's own shape.

    :param status: HTTP status.
    :param error: OAuth error code.
    :param description: what a person reads.
    """

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "description": description, "error_description": description}


@dataclass(frozen=True)
class Token:
    """A token that was given out.

    :param client: whose it is.
    :param ordinal: the how manieth token of this run it is, from 1.
    :param expires_at: seconds since 1970.
    """

    client: ClientSpec
    ordinal: int
    expires_at: float


class OAuth:
    """Gives out tokens and recognises them.

    :param clients: the clients that are known.
    :param lifetime: seconds a token lasts.
    :param clock: the emulator's clock.
    """

    def __init__(self, clients: tuple[ClientSpec, ...], lifetime: int, clock: Clock) -> None:
        self.clients = {client.client_id: client for client in clients}
        self.lifetime = lifetime
        self._clock = clock
        self._tokens: dict[str, Token] = {}
        self._issued = 0

    def grant(self, authorization: str | None, form: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a token request.

        :param authorization: the Authorization header, if there is one.
        :param form: the form's fields; id and secret may stand here instead.
        :returns: the token endpoint's answer.
        :raises TokenRefusedError: when the grant is not client credentials or id and secret do not fit.
        """
        if form.get("grant_type") != "client_credentials":
            raise TokenRefusedError(400, "unsupported_grant_type", "unsupported grant type")
        client_id, secret = _basic(authorization) or (form.get("client_id"), form.get("client_secret"))
        client = self.clients.get(str(client_id))
        if client is None or client.secret != secret:
            raise TokenRefusedError(400, "invalid_client", "authentication failed")
        self._issued += 1
        value = f"{uuid4().hex}{uuid4().hex}"
        self._tokens[value] = Token(client, self._issued, self._clock.time() + self.lifetime)
        return {"access_token": value, "token_type": "bearer", "expires_in": self.lifetime}

    def authenticate(self, authorization: str | None) -> Token:
        """Recognise the token of an API request.

        :param authorization: the Authorization header.
        :returns: the token.
        :raises ServiceError: 401, when it is missing, unknown, revoked or expired.
        """
        kind, _, value = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not value:
            message = "No authentication bearer token specified in authorization header."
            raise ServiceError(401, "authentication.required", message)
        token = self._tokens.get(value.strip())
        if token is None:
            raise ServiceError(401, "bad.credentials", _BAD_TOKEN)
        if self._clock.time() >= token.expires_at:
            raise ServiceError(401, "credentials.expired", "The access token has expired.")
        return token

    def ordinal(self, authorization: str | None) -> int | None:
        """Say which token a header carries, for the request log; None for one that is not known."""
        token = self._tokens.get((authorization or "").partition(" ")[2].strip())
        return token.ordinal if token else None

    def revoke(self) -> None:
        """Refuse every token given out so far."""
        self._tokens.clear()


def require(client: ClientSpec, permissions: tuple[str, ...]) -> None:
    """Check that a client holds one of the permissions (the contract says *requires ANY*).

    :param client: who asks.
    :param permissions: what the operation asks for; empty asks for nothing.
    :raises ServiceError: 403, naming the permissions.
    """
    if client.permissions is None or not permissions:
        return
    if not any(fnmatchcase(name, held) for name in permissions for held in client.permissions):
        raise ServiceError(
            403,
            "missing.any.permissions",
            "Unable to perform the requested action. You must have at least one of the following permissions "
            "assigned: {permissions}",
            params={"permissions": ", ".join(permissions)},
        )


def _basic(authorization: str | None) -> tuple[str, str] | None:
    kind, _, value = (authorization or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (client_id, secret) if colon else None
