"""The emulator's switches, shared by the command line and the pytest fixture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

SURFACES = ("both", "journey", "externalcontacts")


@dataclass(frozen=True)
class ClientSpec:
    """An OAuth client that may ask for tokens.

    :param client_id: the client's id.
    :param secret: the client's secret.
    :param permissions: permissions the client holds, ``*`` standing for any ending; None: all of them.
    """

    client_id: str
    secret: str
    permissions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Options:
    """What a run of the emulator is made from; the same options give the same data.

    :param host: the address to listen on.
    :param port: the port to listen on; 0 picks a free one.
    :param contacts: how many external contacts exist.
    :param events: how many events the trailing 30 days hold together, about.
    :param seed: what every id and event is derived from.
    :param rate_limit: calls allowed in a window; 0 switches limit and headers off.
    :param window: length of a rate-limit window in seconds.
    :param rate_limit_scope: ``client`` (tokens of one client share the quota) or ``token``.
    :param latency_ms: milliseconds every API answer is held back.
    :param late_data: whether a day goes on growing until it is four days old.
    :param faults: share of calls (0 to 1) hit by each named fault.
    :param token_lifetime: seconds a token lasts.
    :param clients: OAuth clients besides the default one.
    :param surface: which segment operations are served: ``journey``, ``externalcontacts`` or ``both``.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    contacts: int = 1000
    events: int = 30_000
    seed: int = 1
    rate_limit: int = 300
    window: float = 60.0
    rate_limit_scope: str = "client"
    latency_ms: float = 0.0
    late_data: bool = False
    faults: Mapping[str, float] = field(default_factory=dict)
    token_lifetime: int = 86_400
    clients: tuple[ClientSpec, ...] = ()
    surface: str = "both"

    def __post_init__(self) -> None:
        if self.contacts < 1:
            raise ValueError("contacts must be at least 1")
        if not 0 <= self.port <= 65_535:
            raise ValueError("port must lie between 0 and 65535")
        if self.events < 0 or self.rate_limit < 0 or not 0 <= self.latency_ms < math.inf:
            raise ValueError("events, rate_limit and latency_ms must not be negative, nor endless")
        if not 0 < self.window < math.inf or self.token_lifetime <= 0:
            raise ValueError("window and token_lifetime must be positive, and end")
        if self.rate_limit_scope not in ("client", "token"):
            raise ValueError("rate_limit_scope is client or token")
        if self.surface not in SURFACES:
            raise ValueError(f"surface is one of {', '.join(SURFACES)}")


def parse_client(text: str) -> ClientSpec:
    """Read ``ID:SECRET`` or ``ID:SECRET:permission,permission``.

    :param text: the command line's value.
    :returns: the client.
    :raises ValueError: when id or secret is missing.
    """
    client_id, _, rest = text.partition(":")
    secret, restricted, permissions = rest.partition(":")
    if not client_id or not secret:
        raise ValueError(f"a client is ID:SECRET[:permission,permission], not {text!r}")
    if not restricted:
        return ClientSpec(client_id, secret)
    return ClientSpec(
        client_id, secret, tuple(name.strip() for name in permissions.split(",") if name.strip())
    )


def parse_faults(text: str) -> dict[str, float]:
    """Read ``NAME=SHARE,NAME=SHARE``.

    :param text: the command line's value; empty for none.
    :returns: share by fault name; the names are checked where faults are chosen.
    :raises ValueError: when a share is missing or no number.
    """
    shares = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, share = item.partition("=")
        if not equals:
            raise ValueError(f"a fault is NAME=SHARE, not {item!r}")
        shares[name.strip()] = float(share)
    return shares
