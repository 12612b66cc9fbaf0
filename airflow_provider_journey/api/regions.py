"""Where an organisation lives: from what a person types into *Host* to two base URLs."""

from __future__ import annotations

import difflib
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow_provider_journey.api.errors import AuthenticationError

# The domain follows no pattern, so this is a table. Source: Genesys Cloud's list of platform API regions.
DOMAINS = {
    "us-east-1": "mypurecloud.com",
    "eu-west-1": "mypurecloud.ie",
    "ap-southeast-2": "mypurecloud.com.au",
    "ap-northeast-1": "mypurecloud.jp",
    "eu-central-1": "mypurecloud.de",
    "us-west-2": "usw2.pure.cloud",
    "ca-central-1": "cac1.pure.cloud",
    "ap-northeast-2": "apne2.pure.cloud",
    "eu-west-2": "euw2.pure.cloud",
    "ap-south-1": "aps1.pure.cloud",
    "us-east-2": "use2.us-gov-pure.cloud",
    "sa-east-1": "sae1.pure.cloud",
    "me-central-1": "mec1.pure.cloud",
    "ap-northeast-3": "apne3.pure.cloud",
    "eu-central-2": "euc2.pure.cloud",
    "mx-central-1": "mxc1.pure.cloud",
    "ap-southeast-1": "apse1.pure.cloud",
    "eusc-de-east-1": "edee1.eusc-pure.cloud",
}


# Underscores are not for host names, but container networks have them.
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


@dataclass(frozen=True)
class Site:
    """The two base URLs of an organisation, without a trailing slash.

    :param login_url: tokens are asked for at ``{login_url}/oauth/token``.
    :param api_url: operations live below ``{api_url}/api/v2``.
    :param name: what a person would call it, for messages.
    """

    login_url: str
    api_url: str
    name: str


def resolve(host: str | None, port: int | None = None, *, allow_http: bool = False) -> Site:
    """Return the base URLs for what stands in a connection's host.

    :param host: a region (``eu-central-1``), a domain (``mypurecloud.de``, also with ``login.``, ``api.`` or
        ``apps.`` before it) or a base URL (``http://localhost:8765``).
    :param port: the connection's port, used where ``host`` has none of its own.
    :param allow_http: whether plain http is accepted for hosts other than loopback.
    :raises AuthenticationError: nothing there, an unknown region, or plain http where it is not allowed.
    """
    text = (host or "").strip().rstrip("/")
    if not text:
        raise AuthenticationError(
            "The connection has no host: set a region (eu-central-1), a domain (mypurecloud.de) or a URL."
        )
    if "://" not in text and text.count(":") > 1:
        # A bare IPv6 address, as a connection's URI leaves it.
        text = f"{'http' if is_loopback(text) else 'https'}://[{text.strip('[]')}]"
    if "://" not in text:
        hostname, _, own_port = text.partition(":")
        if hostname.lower() in DOMAINS:
            return _of_domain(DOMAINS[hostname.lower()], hostname.lower())
        if not own_port and port is None and not is_loopback(hostname):
            if "." not in hostname:
                raise _unknown_region(hostname)
            if not _is_hostname(hostname):
                raise AuthenticationError(f"The connection's host {hostname!r} is no host name.")
            return _of_domain(_bare_domain(hostname), hostname)
        text = f"{'http' if is_loopback(hostname) else 'https'}://{text}"
    return _of_url(text, port, allow_http)


def _is_hostname(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return bool(_HOSTNAME.fullmatch(name))
    return True


def is_loopback(hostname: str) -> bool:
    """Whether ``hostname`` means this machine, so that nothing sent there can be overheard."""
    if hostname.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname.strip("[]")).is_loopback
    except ValueError:
        return False


def _bare_domain(hostname: str) -> str:
    domain = hostname.lower()
    for prefix in ("login.", "api.", "apps."):
        domain = domain.removeprefix(prefix)
    return domain


def _unknown_region(name: str) -> AuthenticationError:
    near = difflib.get_close_matches(name, DOMAINS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(DOMAINS)}."
    return AuthenticationError(f"The connection's host {name!r} is no region of Genesys Cloud: {hint}")


def _of_domain(domain: str, name: str) -> Site:
    return Site(f"https://login.{domain}", f"https://api.{domain}", name)


def _of_url(url: str, port: int | None, allow_http: bool) -> Site:
    try:
        parts = urlsplit(url)
        own_port = parts.port
    except ValueError as error:
        raise AuthenticationError(f"The connection's host is no base URL: {error}.") from None
    hostname = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not _is_hostname(hostname) or parts.username or parts.query:
        raise AuthenticationError(
            "The connection's host is no base URL: it takes http or https, a host name, maybe a port and a "
            "path; no credentials, no query."
        )
    if parts.scheme == "http" and not allow_http and not is_loopback(hostname):
        raise AuthenticationError(
            f"Plain http to {hostname} would show the client secret to everyone on the way: use https, "
            "or set allow_http in the connection's extra."
        )
    if (domain := _bare_domain(hostname)) in DOMAINS.values() and parts.scheme == "https":
        # Somebody pasted the address of the API, the login page or the apps.
        return _of_domain(domain, domain)
    netloc = parts.netloc if own_port is not None or port is None else f"{parts.netloc}:{port}"
    base = f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}".removesuffix("/api/v2")
    return Site(base, base, netloc)
