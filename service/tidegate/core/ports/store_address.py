"""Parses the URL of a shared store.

| URL | server |
| --- | --- |
| `valkey://user:password@host:6379/0`, `redis://…` | one server |
| `valkeys://…`, `rediss://…` | the same over TLS |
| `valkey+sentinel://user:password@sentinel:26379,other:26379/service` | the primary that Sentinel names |
| `valkey+cluster://user:password@node:6379,other:6379` | a cluster |

Options follow as a query: `prefix` (of all keys, default `tidegate`), and for Sentinel and clusters `tls=true`.
`ca_file` is a PEM file of the authorities to trust instead of the system's. User and password before the hosts belong
to the primary. The Sentinels' own are `sentinel_password`, and `sentinel_user` for an ACL user.
"""

import re
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from tidegate.core.domain.errors import ConfigurationError

__all__ = ["STORE_URL_TEXT", "StoreAddress", "parse_store_url", "without_credentials"]

STORE_URL_TEXT: Final = (
    "memory://, valkey://host:port/database (also redis://, and valkeys:// or rediss:// for TLS), "
    "valkey+sentinel://host:port,…/service or valkey+cluster://host:port,…"
)
_FIELD: Final = "store_url"
_SCHEMES: Final[dict[str, tuple[Literal["server", "sentinel", "cluster"], bool]]] = {
    "valkey": ("server", False),
    "redis": ("server", False),
    "valkeys": ("server", True),
    "rediss": ("server", True),
    "valkey+sentinel": ("sentinel", False),
    "valkey+cluster": ("cluster", False),
}
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_LARGEST_PORT: Final = 65_535
_PREFIX: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_SECRET_OPTION: Final = re.compile(r"(sentinel_(?:user|password)=)[^&#]*")
_FLAGS: Final = {"true": True, "false": False}


class StoreAddress(Struct, frozen=True):
    """The address of the shared store.

    Attributes:
        kind: one server, the primary that Sentinel names, or a cluster.
        nodes: host and port of the server, the Sentinels, or some nodes of the cluster.
        prefix: of all keys. Replicas with the same prefix share one limit.
        service: Sentinel's name of the primary; empty otherwise.
        database: number of the database; clusters only have 0.
        username, password: of an ACL user; a password alone belongs to the user `default`.
        tls: whether connections use TLS.
        ca_file: PEM file of trusted authorities; None for the system's.
        sentinel_username, sentinel_password: of the Sentinels, which have none by default.
    """

    kind: Literal["server", "sentinel", "cluster"]
    nodes: tuple[tuple[str, int], ...]
    prefix: str = "tidegate"
    service: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ca_file: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    def __repr__(self) -> str:
        return f"StoreAddress({self})"

    def __str__(self) -> str:
        """The address for people: without user and password."""
        nodes = ", ".join(f"{host}:{port}" for host, port in self.nodes)
        kind = {"server": "", "sentinel": f"service {self.service} of Sentinel ", "cluster": "cluster "}[self.kind]
        return f"{kind}{nodes}"


def parse_store_url(url: str) -> StoreAddress:
    """Parses the URL of a shared store.

    Raises:
        ConfigurationError: it is none of the forms above. The error shows no user and no password.
    """
    try:
        return _parse(url)
    except ValueError as error:
        raise ConfigurationError(_FIELD, without_credentials(url), f"{STORE_URL_TEXT} ({error})") from None


def _parse(url: str) -> StoreAddress:
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ValueError("another scheme")
    if parts.fragment:
        raise ValueError("a fragment, which no server reads; write # in a password as %23")
    kind, tls = _SCHEMES[parts.scheme]
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    default_port = _SENTINEL_PORT if kind == "sentinel" else _PORT
    nodes = tuple(_node(each, default_port) for each in hosts.split(","))
    if kind == "server" and len(nodes) > 1:
        raise ValueError("several hosts")
    path = unquote(parts.path.strip("/"))
    if kind == "sentinel" and not path:
        raise ValueError("the name of the service is missing")
    if kind == "cluster" and path:
        raise ValueError("a cluster has no databases")
    if kind == "server" and path and not (path.isascii() and path.isdigit()):
        raise ValueError("the database is not a number")
    prefix = options.pop("prefix", "tidegate")
    if not _PREFIX.fullmatch(prefix):
        raise ValueError("a prefix has 1 to 100 letters, digits, dots, colons, underscores or hyphens")
    tls = _flag(options.pop("tls", "true" if tls else "false"))
    ca_file = options.pop("ca_file", None)
    sentinel_user, sentinel_password = _sentinel_login(options, kind)
    if options:
        known = "prefix, tls, ca_file, sentinel_user and sentinel_password"
        raise ValueError(f"unknown option {min(options)}; known are {known}")
    return StoreAddress(
        kind=kind,
        nodes=nodes,
        prefix=prefix,
        service=path if kind == "sentinel" else "",
        database=int(path) if kind == "server" and path else 0,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=tls,
        ca_file=ca_file,
        sentinel_username=sentinel_user,
        sentinel_password=sentinel_password,
    )


def _sentinel_login(options: dict[str, str], kind: str) -> tuple[str | None, str | None]:
    """Takes the user and the password of the Sentinels out of the options."""
    user, password = options.pop("sentinel_user", None), options.pop("sentinel_password", None)
    if kind != "sentinel" and (user or password):
        raise ValueError("sentinel_user and sentinel_password belong to valkey+sentinel://")
    if user and not password:
        raise ValueError("sentinel_user without sentinel_password")
    return user or None, password or None


def _node(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/\s]+))(?::([0-9]{1,5}))?", text)
    if match is None:
        raise ValueError("a host is missing" if not text else "a host is malformed")
    port = int(match[3]) if match[3] else default_port
    if not 0 < port <= _LARGEST_PORT:
        raise ValueError("a port is not between 1 and 65535")
    return match[1] or match[2], port


def _flag(text: str) -> bool:
    if text not in _FLAGS:
        raise ValueError("tls is true or false")
    return _FLAGS[text]


def without_credentials(url: str) -> str:
    """The URL with whatever may be a user or a password hidden, also where it is malformed."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "(hidden)" if "@" in url else url
    _, at, hosts = rest.rpartition("@")
    hosts = _SECRET_OPTION.sub(r"\1(hidden)", hosts)
    return f"{scheme}://{'(hidden)@' if at else ''}{hosts}"
