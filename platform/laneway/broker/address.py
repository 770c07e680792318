"""Where the broker is: one setting, read once, passed on as a value.

==========================  =====================================================================
``LANEWAY_BROKER_URL``      one AMQP URL, or those of a cluster separated by ``,`` or ``;``;
                            ``librabbitmq://`` lets workers consume over the C client
``LANEWAY_MANAGEMENT_URL``  the management interface; derived from the first broker if not given
``LANEWAY_VHOST_PREFIX``    stands before the names of the virtual hosts, so that environments
                            (``staging-``, ``prod-``) can share a cluster
==========================  =====================================================================

The virtual hosts are the platform's (``<prefix>jobs`` and ``<prefix>secure``), so a URL names none.
Nothing here ever prints a password.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from laneway.broker.client import CLIENTS, ClientName
from laneway.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The two kinds of virtual host.
VhostKind = Literal["jobs", "secure"]
#: Both kinds, in the order in which they are shown.
VHOST_KINDS: Final[tuple[VhostKind, ...]] = ("jobs", "secure")

#: The broker that is meant when nothing says otherwise: a RabbitMQ as installed.
DEFAULT_BROKER_URL: Final = "amqp://guest:guest@127.0.0.1:5672"

# What kombu calls the transport: "amqp" would become librabbitmq where that is installed, which has
# neither confirms nor TLS, so the pure Python transport is named outright.
_SCHEMES: Final = {"amqp": "pyamqp", "pyamqp": "pyamqp", "amqps": "amqps"}
# The schemes of the clients other than py-amqp: ours, then kombu's of the transport in
# laneway.broker.librabbitmq.
_C_SCHEME: Final = "librabbitmq"
_C_KOMBU_SCHEME: Final = "laneway-librabbitmq"
_AMQP_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_MANAGEMENT_PORTS: Final = {"amqp": ("http", 15672), "amqps": ("https", 15671)}
_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]{0,100}")


@dataclass(frozen=True, kw_only=True)
class BrokerAddress:
    """Where the broker is and what its virtual hosts are called. Made by :func:`broker_address`."""

    #: ``amqp://user:password@host:port`` (or ``amqps``), no virtual host; several are the members
    #: of one cluster, tried in this order.
    urls: tuple[str, ...]
    #: The management interface with its user and password; None only if given as None by hand.
    management_url: str | None
    #: Stands before ``jobs`` and ``secure``; may be empty.
    vhost_prefix: str
    #: The client over which workers take jobs. All else goes over py-amqp.
    consumer: ClientName = "py-amqp"

    def vhost(self, kind: VhostKind) -> str:
        """The name of a virtual host: the prefix and the kind."""
        return f"{self.vhost_prefix}{kind}"

    def kombu_urls(self, kind: VhostKind) -> str:
        """The URLs of one virtual host as kombu and Celery take them (``;`` between members)."""
        vhost = quote(self.vhost(kind), safe="")
        return ";".join(_with_vhost(urlsplit(url), vhost) for url in self.urls)

    def consumer_urls(self, kind: VhostKind) -> str:
        """The same for the connection on which a worker takes its jobs."""
        urls = self.kombu_urls(kind)
        if self.consumer == "py-amqp":
            return urls
        return ";".join(
            urlunsplit(urlsplit(url)._replace(scheme=_C_KOMBU_SCHEME)) for url in urls.split(";")
        )

    def as_user(self, user: str, password: str) -> BrokerAddress:
        """The same broker, entered as another user."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        urls = tuple(
            urlunsplit(parts._replace(netloc=f"{login}@{_host(parts)}"))
            for parts in map(urlsplit, self.urls)
        )
        return replace(self, urls=urls)

    def users(self) -> tuple[str, ...]:
        """Who enters the broker: mostly one user, for all members of the cluster."""
        names = (unquote(urlsplit(url).username or "") for url in self.urls)
        return tuple(dict.fromkeys(names))

    def __repr__(self) -> str:
        urls = ", ".join(mask_password(url) for url in self.urls)
        management = self.management_url and mask_password(self.management_url)
        return (
            f"BrokerAddress({urls}; management {management}; prefix {self.vhost_prefix!r}; "
            f"consumer {self.consumer})"
        )


def broker_address(
    urls: str | Sequence[str] | None = None,
    management_url: str | None = None,
    vhost_prefix: str | None = None,
    env: Mapping[str, str] = os.environ,
) -> BrokerAddress:
    """Read the address from the arguments, else from the environment, else take the defaults.

    Args:
        urls: ``amqp``, ``amqps``, ``pyamqp`` or ``librabbitmq`` URLs; one string may hold several.
        management_url: ``http`` or ``https``; without a user, the broker's user is taken.
        vhost_prefix: letters, digits, ``.``, ``_`` and ``-``, at most 100.
        env: where the variables are looked up.

    Raises:
        SettingsError: names the setting and what it should look like, never the password.
    """
    given = urls if urls is not None else env.get("LANEWAY_BROKER_URL") or DEFAULT_BROKER_URL
    texts = re.split(r"[,;]", given) if isinstance(given, str) else list(given)
    texts = [text.strip() for text in texts if text.strip()]
    members = tuple(map(_read_broker, texts))
    if not members:
        raise SettingsError(
            "LANEWAY_BROKER_URL: expected amqp://user:password@host:5672, got nothing"
        )
    management = management_url or env.get("LANEWAY_MANAGEMENT_URL") or None
    prefix = vhost_prefix if vhost_prefix is not None else env.get("LANEWAY_VHOST_PREFIX", "")
    if not _PREFIX.fullmatch(prefix):
        raise SettingsError(
            "LANEWAY_VHOST_PREFIX: expected at most 100 letters, digits, '.', '_' or '-' "
            f"(like 'staging-'), got {prefix!r}"
        )
    return BrokerAddress(
        urls=members,
        management_url=_read_management(management, urlsplit(members[0])),
        vhost_prefix=prefix,
        consumer=_consumer_of(texts),
    )


def mask_password(url: str) -> str:
    """The URL with ``**`` for its password: for messages and logs."""
    try:
        parts = urlsplit(url)
        host = _host(parts)
    except ValueError:
        return f"{url.partition(':')[0]}://**"
    user = f"{parts.username}:**@" if parts.username else ""
    return urlunsplit((parts.scheme, f"{user}{host}", parts.path, "", ""))


def _read_broker(text: str) -> str:
    name = "LANEWAY_BROKER_URL"
    parts = _split(name, text, (*_SCHEMES, _C_SCHEME))
    if parts.path not in {"", "/", "//"}:
        raise SettingsError(
            f"{name}: expected no virtual host, got {parts.path.lstrip('/')!r} in "
            f"{mask_password(text)}. Laneway has two, '<prefix>jobs' and '<prefix>secure': leave "
            "it out, and set LANEWAY_VHOST_PREFIX where environments share a broker."
        )
    if unknown := [o for o in parts.query.split("&") if o and not o.startswith("ssl_")]:
        option = unknown[0].partition("=")[0]
        raise SettingsError(
            f"{name}: expected only TLS options (ssl_ca_certs, ssl_certfile, ssl_keyfile, ...) "
            f"after '?', got {option!r} in {mask_password(text)}: it would have no effect"
        )
    scheme = "amqps" if parts.scheme == "amqps" else "amqp"
    port = parts.port or _AMQP_PORTS[scheme]
    # A user without a password is not the same as no user: the broker's answer then tells.
    login = parts.netloc.rpartition("@")[0] or "guest:guest"
    return urlunsplit((scheme, f"{login}@{_host(parts, port)}", "", parts.query, ""))


def _consumer_of(texts: Sequence[str]) -> ClientName:
    """The client that the schemes choose, refused where it cannot do what the URL asks for."""
    name = "LANEWAY_BROKER_URL"
    chosen = [text for text in texts if urlsplit(text).scheme == _C_SCHEME]
    if not chosen:
        return "py-amqp"
    if len(chosen) < len(texts):
        raise SettingsError(
            f"{name}: expected {_C_SCHEME}:// for all members of the cluster or for none, got "
            f"{len(chosen)} of {len(texts)}"
        )
    client = CLIENTS["librabbitmq"]
    for parts in map(urlsplit, chosen):
        if parts.query or parts.port == _AMQP_PORTS["amqps"]:
            raise SettingsError(f"{name}: {client.why_not('TLS')}")
        if ":" in (parts.hostname or ""):
            raise SettingsError(f"{name}: {client.why_not('IPv6 literals')}")
    return "librabbitmq"


def _read_management(text: str | None, broker: SplitResult) -> str:
    login = broker.netloc.rpartition("@")[0]
    if text is None:
        scheme, port = _MANAGEMENT_PORTS[broker.scheme]
        return urlunsplit((scheme, f"{login}@{_bare_host(broker)}:{port}", "", "", ""))
    parts = _split("LANEWAY_MANAGEMENT_URL", text.strip(), ("http", "https"))
    own_login = parts.netloc.rpartition("@")[0]
    return urlunsplit(
        (parts.scheme, f"{own_login or login}@{_host(parts)}", parts.path.rstrip("/"), "", "")
    )


def _split(name: str, text: str, schemes: tuple[str, ...]) -> SplitResult:
    example = f"{schemes[0]}://user:password@host:port"
    try:
        parts = urlsplit(text)
        _ = parts.port  # read here because only reading it checks it
        if "@" in parts.path + parts.query or parts.fragment:
            raise ValueError("a '/', '?' or '#' of the password ended the host")
    except ValueError:
        # The cause (hence None) and the URL itself may show the password.
        raise SettingsError(
            f"{name}: expected {example}, got a URL whose host or port cannot be read; write "
            "special characters of the user and the password as %XX ('/' is %2F, '#' is %23)"
        ) from None
    if parts.scheme not in schemes or not parts.hostname:
        raise SettingsError(
            f"{name}: expected {example} (schemes: {', '.join(schemes)}), got {_shown(parts)}"
        )
    return parts


def _shown(parts: SplitResult) -> str:
    """What may be said of a URL that is not one: anything in it may be a password."""
    if not parts.scheme:
        return "no scheme"
    return f"the scheme {parts.scheme!r}" if parts.hostname else f"{parts.scheme!r} without a host"


def _bare_host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _host(parts: SplitResult, port: int | None = None) -> str:
    number = port or parts.port
    return f"{_bare_host(parts)}:{number}" if number else _bare_host(parts)


def _with_vhost(parts: SplitResult, vhost: str) -> str:
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, f"/{vhost}", parts.query, ""))
