"""Which addresses the broker may call: public ones, and the networks that its operator allows.

A name that a caller gives must not lead into the operator's own network, whatever DNS says of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64 = ip_network("64:ff9b::/96")
_NAT64_LOCAL = ip_network("64:ff9b:1::/48")
_RELAYS = ip_network("192.88.99.0/24")  # 6to4, deprecated by RFC 7526
_ISATAP = (0x00005EFE, 0x02005EFE)  # the third word of such an address; the fourth is an IPv4 address


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks such as ``10.2.0.0/16`` or a single address; ``ValueError`` says which is none."""
    return tuple(ip_network(text) for text in texts)


class Reach:
    """What may be called."""

    def __init__(self, allowed: tuple[Network, ...] = ()) -> None:
        self._allowed = allowed

    def holds(self, text: str) -> bool:
        """True if the address may be called; every address that is hidden in it must be public too."""
        address = _plain(ip_address(text.partition("%")[0]))
        if any(address in network for network in self._allowed):
            return True
        return all(_public(one) for one in (address, *_hidden(address)))


def _plain(address: Address) -> Address:
    """The address that a packet to this one comes to, where that is written in it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _public(address: Address) -> bool:
    if address in _RELAYS or (isinstance(address, IPv6Address) and address.is_site_local):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _hidden(address: Address) -> list[Address]:
    """The addresses that routers and translators read out of this one."""
    if isinstance(address, IPv4Address):
        return []
    found: list[Address] = []
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if address in _NAT64_LOCAL:
        found.append(IPv4Address("0.0.0.0"))
    return found
