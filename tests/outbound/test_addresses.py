"""Which addresses a client may have the service ask for."""

import pytest

from app.outbound.addresses import AddressRefused, NameUnresolved, is_outside, pinned
from app.outbound.requests import checked

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
     "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "ff02::1", "2001:db8::1", "none"],
)  # fmt: skip
async def test_an_address_on_the_inside_is_known_in_every_spelling(address):
    assert not is_outside(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
async def test_an_address_on_the_outside_is(address):
    assert is_outside(address)


def answering(*addresses):
    async def resolving(host, port):
        return list(addresses)

    return resolving


async def test_a_name_with_one_address_on_the_inside_is_refused_whole():
    both = answering("8.8.8.8", "10.0.0.1")
    with pytest.raises(AddressRefused, match="on the inside"):
        await pinned("example.com", 443, allow_inside=False, resolving=both)


async def test_the_inside_is_open_where_the_settings_say_so():
    inside = answering("10.0.0.1")
    assert await pinned("nas", 443, allow_inside=True, resolving=inside) == "10.0.0.1"


async def test_a_name_that_stands_for_nothing_may_stand_for_something_later():
    async def failing(host, port):
        raise OSError("no such name")

    for resolving in (failing, answering()):
        with pytest.raises(NameUnresolved):
            await pinned("gone.example", 443, allow_inside=False, resolving=resolving)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "localhost"])
async def test_what_the_resolver_takes_for_the_inside_is_refused(host):
    with pytest.raises(AddressRefused):
        await pinned(host, 443, allow_inside=False)


@pytest.mark.parametrize(
    "url",
    ["http://example.com", "ftp://example.com", "https://", "https://name:pass@example.com",
     "file:///etc/passwd", "example.com", "https://[::1", "https://example.com:0",
     "https://example.com/" + 2000 * "x", ""],
)  # fmt: skip
async def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(AddressRefused):
        checked(url, allow_inside=False)


async def test_http_is_for_the_inside_alone():
    assert checked("http://nas/hook", allow_inside=True).host == "nas"
    assert checked("https://example.com:8443/hook?a=b", allow_inside=False).port == 8443
