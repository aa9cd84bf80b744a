"""Which addresses are on the outside, and to which of them a name resolves."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_Address = IPv4Address | IPv6Address

# RFC 6052: IPv4 behind these is reached through a translator, and may be anywhere inside.
_TRANSLATED = IPv6Network("64:ff9b::/96")
_RESOLVING_SECONDS = 5.0

# Of a name and a port: the addresses that it stands for. Raises OSError.
Resolve = Callable[[str, int], Awaitable[list[str]]]


class AddressRefused(Exception):
    """No URL that may be asked for, or one whose name stands for an address on the inside."""


class NameUnresolved(AddressRefused):
    """A name that stands for nothing, for the moment or for good."""


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver for the addresses of a name. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def pinned(host: str, port: int, *, allow_inside: bool, resolving: Resolve = resolve) -> str:
    """Return the one address of a name that is connected to: whoever asked twice could be answered
    something else the second time. Raises AddressRefused where any of its addresses is on the
    inside."""
    try:
        async with asyncio.timeout(_RESOLVING_SECONDS):
            found = await resolving(host, port)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise NameUnresolved(f"The name {host!r} cannot be resolved.") from error
    if not found:
        raise NameUnresolved(f"The name {host!r} stands for no address.")
    if not allow_inside and not all(map(is_outside, found)):
        raise AddressRefused(
            f"{host!r} is an address on the inside (MARLINSCRIBE_ALLOW_PRIVATE_ADDRESSES)."
        )
    return found[0]


def is_outside(address: str) -> bool:
    """Return whether an address, and every IPv4 address within it, is anybody's on the internet."""
    try:
        one = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(each.is_global and not each.is_multicast for each in (one, *_within(one)))


def _within(address: _Address) -> Iterable[_Address]:
    """Yield the IPv4 addresses that an IPv6 address is another spelling of, or a tunnel to."""
    if isinstance(address, IPv4Address):
        return
    for one in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if one is not None:
            yield one
    if address in _TRANSLATED:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
