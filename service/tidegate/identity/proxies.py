"""The address of the client behind trusted proxies."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from tidegate.core.ports.transport import Headers

__all__ = ["TrustedProxies"]

_FORWARDED_FOR: Final = b"x-forwarded-for"
_FORWARDED: Final = frozenset({b"forwarded", _FORWARDED_FOR, b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"})
"""Header fields that reverse proxies add. They are evidence of a proxy, whoever sends them."""


class TrustedProxies:
    """Decides which client a request comes from.

    Only `x-forwarded-for` is read, and only if the connection comes from a trusted proxy.

    Args:
        networks: the addresses of the trusted proxies.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = tuple(networks)

    def trusts(self, peer: str | None) -> bool:
        """Whether an address belongs to a trusted proxy."""
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str | None, headers: Headers) -> str | None:
        """The address of the client; None if it is unknown.

        It is unknown if a trusted proxy does not name it, or if a proxy that is not trusted has forwarded the request.

        Args:
            peer: the address at the other end of the connection.
            headers: all header fields of the request.
        """
        if not self.trusts(peer):
            return None if any(name in _FORWARDED for name, _ in headers) else peer
        values = (value.decode("latin-1") for name, value in headers if name == _FORWARDED_FOR)
        hops = [hop.strip() for value in values for hop in value.split(",")]
        # Each proxy appends the address that it saw, so only the entries behind the last untrusted one can be forged.
        client = next((hop for hop in reversed(hops) if not self.trusts(hop)), hops[0] if hops else None)
        return None if _address(client) is None else client


def _address(text: str | None) -> IPv4Address | IPv6Address | None:
    """An address, with IPv4 in IPv6 notation as IPv4; None if the text is not an address."""
    try:
        address = ip_address(text or "")
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
