"""A connection, read and checked: whom to talk to, as whom, and how hard to try."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_journey.api import regions
from airflow_provider_journey.api.endpoints import JOURNEY, SEGMENTS_APIS
from airflow_provider_journey.api.errors import AuthenticationError, InvalidRequestError

_NAMES = ("segments_api", "timeout", "max_retries", "rate_limit_share", "allow_http", "proxy", "verify")
_FLAGS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


@dataclass(frozen=True)
class ConnectionSettings:
    """Everything a client needs to know of its connection.

    :param conn_id: the Airflow connection's id, for messages and as part of every cache key.
    :param client_id: OAuth client id.
    :param client_secret: OAuth client secret.
    :param site: the organisation's base URLs.
    :param segments_api: which of the two segment surfaces the organisation serves.
    :param timeout: seconds to wait for a connection, and again for each next byte of an answer.
    :param max_retries: how often a request is sent again after the first try.
    :param rate_limit_share: share of the rate limit, 0 < share <= 1, at which this client stops in a window.
    :param proxy: URL of an HTTP proxy; ``None`` leaves it to the environment.
    :param verify: whether, or against which CA bundle, certificates are checked.
    :param unknown_extras: names in the extra that mean nothing here, each with what may have been meant.
    """

    conn_id: str
    client_id: str
    client_secret: str = field(repr=False)
    site: regions.Site
    segments_api: str = JOURNEY
    timeout: float = 60.0
    max_retries: int = 5
    rate_limit_share: float = 1.0
    proxy: str | None = field(default=None, repr=False)
    verify: bool | str = True
    unknown_extras: tuple[str, ...] = ()

    @property
    def cache_key(self) -> tuple[str, ...]:
        """Identity of the credentials: a changed secret or host is another client."""
        digest = hashlib.sha256(self.client_secret.encode()).hexdigest()
        return (self.conn_id, self.site.login_url, self.client_id, digest)

    @classmethod
    def from_connection(
        cls,
        conn_id: str,
        *,
        login: str | None,
        password: str | None,
        host: str | None,
        port: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> ConnectionSettings:
        """Read the fields of a connection; extras may be typed or strings, as a form or a URI leaves them.

        :raises AuthenticationError: the id, the secret or the host is missing or unusable.
        :raises InvalidRequestError: an extra has a value it cannot have; the message names it.
        """
        if not isinstance(extra or {}, Mapping):
            raise InvalidRequestError(f"Connection {conn_id!r}: extra is no JSON object.")
        fields = _Extras(conn_id, extra or {})
        login, password = (login or "").strip(), (password or "").strip()
        missing = [name for name, value in (("login", login), ("password", password)) if not value]
        if missing:
            raise AuthenticationError(
                f"Connection {conn_id!r} has no {' and no '.join(missing)}: login is the OAuth client's id, "
                "password its secret."
            )
        segments_api = fields.text("segments_api") or JOURNEY
        if segments_api not in SEGMENTS_APIS:
            raise fields.refuse("segments_api", f"it is one of {', '.join(SEGMENTS_APIS)}")
        return cls(
            conn_id=conn_id,
            client_id=login,
            client_secret=password,
            site=regions.resolve(host, port, allow_http=fields.flag("allow_http", default=False)),
            segments_api=segments_api,
            timeout=fields.number("timeout", default=60.0, low=0.001, high=3600),
            max_retries=int(fields.number("max_retries", default=5, low=0, high=100)),
            rate_limit_share=fields.number("rate_limit_share", default=1.0, low=0.001, high=1),
            proxy=fields.proxy(),
            verify=fields.verify(),
            unknown_extras=fields.unknown(),
        )


class _Extras:
    """A connection's extra, whose values a form, a URI and JSON spell differently."""

    def __init__(self, conn_id: str, extra: Mapping[str, Any]) -> None:
        self._conn_id = conn_id
        self._extra = extra

    def refuse(self, name: str, cause: str) -> InvalidRequestError:
        shown = "(hidden)" if name == "proxy" else repr(self._extra.get(name))
        return InvalidRequestError(f"Connection {self._conn_id!r}: extra {name} is {shown}: {cause}.")

    def text(self, name: str) -> str | None:
        value = self._extra.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.refuse(name, "it is a text")
        return value.strip() or None

    def number(self, name: str, *, default: float, low: float, high: float) -> float:
        value = self._extra.get(name)
        if value is None or value == "":
            return default
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self.refuse(name, "it is a number") from None
        if isinstance(value, bool) or not low <= number <= high:
            raise self.refuse(name, f"it lies between {low} and {high}")
        if isinstance(default, int) and number != int(number):
            raise self.refuse(name, "it is a whole number")
        return number

    def flag(self, name: str, *, default: bool) -> bool:
        value = self._extra.get(name)
        if value is None or value == "":
            return default
        flag = value if isinstance(value, bool) else _FLAGS.get(str(value).strip().lower())
        if flag is None:
            raise self.refuse(name, "it is true or false")
        return flag

    def verify(self) -> bool | str:
        value = self._extra.get("verify")
        if value is None or value == "":
            return True
        if isinstance(value, bool):
            return value
        text = str(value).strip()
        flag = _FLAGS.get(text.lower())
        return self._bundle(text) if flag is None else flag

    def _bundle(self, path: str) -> str:
        """Return the path of a CA bundle; each HTTP library fails in its own way over one that is none."""
        import ssl

        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except ssl.SSLError:
            raise self.refuse("verify", "there is no certificate in that file") from None
        except OSError as error:
            raise self.refuse("verify", f"there is no such CA bundle ({error.strerror})") from None
        return path

    def proxy(self) -> str | None:
        url = self.text("proxy")
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # brackets without an address, a port beyond 65535
            usable = False
        if not usable:
            raise self.refuse("proxy", "it is a URL such as http://proxy:3128")
        return url

    def unknown(self) -> tuple[str, ...]:
        """Return the names that nothing here reads, each with the one that may have been meant."""
        found = []
        for name in map(str, self._extra):
            if name not in _NAMES:
                near = difflib.get_close_matches(name, _NAMES, n=1)
                found.append(f"{name} (did you mean {near[0]}?)" if near else name)
        return tuple(found)
