"""One request to an address that a client names, pinned and without redirects."""

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import httpx

from app.outbound.addresses import AddressRefused, Resolve, pinned, resolve

_PORTS = {"https": 443, "http": 80}
_LONGEST_URL = 2000  # characters
_CONNECT_SECONDS = 5.0


def checked(url: str, *, allow_inside: bool) -> httpx.URL:
    """Read an address as it was named: https, or http where the inside is allowed, without a
    password. Raises AddressRefused."""
    schemes = ("https", "http") if allow_inside else ("https",)
    try:
        parsed = httpx.URL(url)
        host, port = parsed.host, parsed.port
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise AddressRefused("It is not a URL.") from error
    if len(url) > _LONGEST_URL or parsed.scheme not in schemes or not host or port == 0:
        raise AddressRefused(f"It must be a URL that begins with {schemes[0]}://.")
    if parsed.userinfo:
        raise AddressRefused("It must hold no name and no password.")
    return parsed


@asynccontextmanager
async def sent(
    method: str, url: httpx.URL, *, allow_inside: bool, headers: Mapping[str, str] = {},
    content: bytes | None = None, resolving: Resolve = resolve,
    trusted: ssl.SSLContext | None = None,
) -> AsyncGenerator[httpx.Response]:  # fmt: skip
    """Send a request to the one address that the URL's name resolves to now; the answer's body is
    not read yet, and a redirect is not followed. No proxy of the environment is used: it would
    resolve the name again. `trusted` has other authorities than the usual ones. Raises
    AddressRefused, httpx.HTTPError."""
    port = url.port or _PORTS[url.scheme]
    address = await pinned(url.host, port, allow_inside=allow_inside, resolving=resolving)
    timeout = httpx.Timeout(_CONNECT_SECONDS, read=None, write=None)
    verify = trusted or True
    async with httpx.AsyncClient(verify=verify, trust_env=False, timeout=timeout) as client:
        request = client.build_request(
            method,
            url.copy_with(host=address),
            headers={
                "host": url.netloc.decode("ascii"),
                "accept-encoding": "identity",  # so that bytes are bounded as they are sent
                **headers,
            },
            content=content,
            extensions={"sni_hostname": url.host},  # whose certificate is asked for and checked
        )
        answer = await client.send(request, stream=True, follow_redirects=False)
        try:
            yield answer
        finally:
            await answer.aclose()
