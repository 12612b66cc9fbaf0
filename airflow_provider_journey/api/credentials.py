"""Tokens: asked for once however many threads or tasks want one, kept in memory, renewed before they end."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from airflow_provider_journey.api import answers
from airflow_provider_journey.api.errors import (
    AuthenticationError,
    JourneyError,
    RateLimitedError,
    ResponseError,
    ServerError,
)
from airflow_provider_journey.api.messages import Answer
from airflow_provider_journey.api.retrying import is_transient
from airflow_provider_journey.api.settings import ConnectionSettings

# The shortest life a client can be given; taken where an answer does not say how long its token lives.
_SHORTEST_LIFE = 300.0


@dataclass(frozen=True)
class Token:
    """A bearer token and the moment, on the clock's monotonic scale, from which a new one is asked for."""

    value: str = field(repr=False)
    renew_at: float


def token_form(settings: ConnectionSettings) -> tuple[str, dict[str, str], bytes]:
    """Return URL, headers and body of a token request (client credentials grant, RFC 6749 section 4.4)."""
    pair = f"{settings.client_id}:{settings.client_secret}".encode()
    headers = {
        "Authorization": f"Basic {base64.b64encode(pair).decode()}",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
    }
    body = urlencode({"grant_type": "client_credentials"}).encode()
    return f"{settings.site.login_url}/oauth/token", headers, body


def read_token(answer: Answer, settings: ConnectionSettings, now: float, epoch: float) -> Token:
    """Read the token endpoint's answer; ``now`` and ``epoch`` are the clock's monotonic and epoch time.

    :raises AuthenticationError: the client is not known here.
    :raises RateLimitedError: the endpoint's own rate limit, which it answers with 400.
    :raises ServerError: the endpoint failed.
    :raises ResponseError: the answer holds no token.
    """
    if answer.status != 200:
        raise _refusal(answer, settings, epoch)
    what = f"The token request of connection {settings.conn_id!r} to {settings.site.login_url}/oauth/token"
    content = answers.read_object(answer, what)
    value = content.get("access_token")
    if not isinstance(value, str) or not value:
        raise ResponseError(
            f"{what} was answered without an access_token.",
            status=answer.status,
            correlation_id=answer.correlation_id,
        )
    life = content.get("expires_in")
    if isinstance(life, bool) or not isinstance(life, (int, float)) or life <= 0:
        life = _SHORTEST_LIFE
    # A minute early, or a tenth of a short life: long enough for a request that is on its way to arrive.
    return Token(value, now + life - min(60.0, life / 10))


def _refusal(answer: Answer, settings: ConnectionSettings, epoch: float) -> JourneyError:
    content = answers.read_error(answer)
    text = str(content.get("error_description") or content.get("description") or content.get("message") or "")
    code = str(content.get("error") or content.get("code") or "") or None
    where = f"{settings.site.login_url}/oauth/token answered {answer.status}" + (f" {code}" if code else "")
    details: dict[str, Any] = {
        "status": answer.status,
        "code": code,
        "correlation_id": answer.correlation_id,
        "retry_after": answers.retry_after(answer, epoch),
    }
    if answer.status == 429 or "rate limit exceeded" in text.lower():
        return RateLimitedError(
            f"Too many token requests for connection {settings.conn_id!r}: {where}: {text}",
            transient=True,
            **details,
        )
    if answer.status >= 500 or is_transient(answer.status):
        return ServerError(
            f"No token for connection {settings.conn_id!r}: {where}.",
            transient=is_transient(answer.status),
            **details,
        )
    if answer.status in (400, 401, 403):
        return AuthenticationError(
            f"No token for connection {settings.conn_id!r}: {where}: {text or 'no reason given'}. Either the "
            f"client id or the secret is wrong, or the OAuth client belongs to another region than "
            f"{settings.site.name}, has no client credentials grant, or is not allowed from this address.",
            **details,
        )
    return ResponseError(
        f"No token for connection {settings.conn_id!r}: {where}; is {settings.site.name} the login address?",
        **details,
    )


class TokenStore:
    """The tokens of this process, by connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, ...], Token] = {}
        self._pending: dict[tuple[str, ...], Future[None]] = {}

    def usable(self, key: tuple[str, ...], now: float) -> Token | None:
        """Return the token that is to be used now, if there is one; else :meth:`ask`."""
        token = self._tokens.get(key)
        return token if token is not None and now < token.renew_at else None

    def ask(self, key: tuple[str, ...], now: float) -> tuple[Token | None, Future[None], bool]:
        """Return a usable token, or a future to wait for and whether the caller is the one to fetch it.

        Whoever is told to fetch must call :meth:`settle`; whoever waits asks again afterwards.
        """
        with self._lock:
            token = self.usable(key, now)
            if token is not None:
                return token, _DONE, False
            pending = self._pending.get(key)
            if pending is not None:
                return None, pending, False
            self._pending[key] = Future()
            return None, self._pending[key], True

    def settle(self, key: tuple[str, ...], outcome: Token | JourneyError | None) -> None:
        """Say how the fetch ended: a token, an error for all who wait, or ``None``: it was given up."""
        with self._lock:
            pending = self._pending.pop(key)
            if isinstance(outcome, Token):
                self._tokens[key] = outcome
        if isinstance(outcome, JourneyError):
            pending.set_exception(outcome)
        else:
            pending.set_result(None)

    def discard(self, key: tuple[str, ...], token: Token) -> None:
        """Forget ``token``, which the service refused, unless another took its place meanwhile."""
        with self._lock:
            if self._tokens.get(key) is token:
                del self._tokens[key]


_DONE: Future[None] = Future()
_DONE.set_result(None)
