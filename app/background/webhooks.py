"""Webhooks: a client is told that its job is over, signed as OpenAI signs its own.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com), which OpenAI's SDKs
verify with `client.webhooks.unwrap`.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Literal

import httpx

from app.outbound.addresses import AddressRefused, NameUnresolved, Resolve, resolve
from app.outbound.requests import checked, sent

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 10
_ANSWER_SECONDS = 10.0
_FIRST_PAUSE = 5.0  # seconds; each is three times the one before, so the last comes after 14 hours
_SLOWER = 3

Outcome = Literal["delivered", "refused", "failed"]


@dataclass(frozen=True)
class Delivery:
    """An event on its way. id: the same for every attempt, by which a receiver knows it again.
    subject: what it is about. due: Unix seconds of the next attempt."""

    id: str
    type: str
    subject: str
    url: str
    created_at: int
    due: float
    attempts: int = 0

    @property
    def body(self) -> bytes:
        """OpenAI's event."""
        told = {
            "id": self.id,
            "object": "event",
            "created_at": self.created_at,
            "type": self.type,
            "data": {"id": self.subject},
        }
        return json.dumps(told).encode()


def event(type_: str, subject: str, url: str | None) -> Delivery | None:
    """Return the webhook that says what has just become of a subject, where anybody asks for
    it."""
    if url is None:
        return None
    now = time.time()
    return Delivery(f"evt_{secrets.token_hex(16)}", type_, subject, url, int(now), now)


def secret_bytes(secret: str) -> bytes:
    """Read a secret as OpenAI writes them, `whsec_` and base64. Raises ValueError."""
    prefix, _, encoded = secret.partition("_")
    key = b64decode(encoded, validate=True)
    if prefix != "whsec" or not key:
        raise ValueError("it is not whsec_ and base64")
    return key


def signed(delivery: Delivery, secret: bytes, now: int) -> dict[str, str]:
    """Return the headers of an attempt at so many Unix seconds."""
    said = f"{delivery.id}.{now}.".encode() + delivery.body
    digest = hmac.new(secret, said, hashlib.sha256).digest()
    return {
        "webhook-id": delivery.id,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
        "content-type": "application/json",
        "user-agent": "marlinscribe",
    }


def pause_after(attempts: int) -> float:
    """Return the seconds from one attempt to the next."""
    return float(_FIRST_PAUSE * _SLOWER ** (attempts - 1))


async def attempt(
    delivery: Delivery, secret: bytes, *, allow_inside: bool, resolving: Resolve = resolve
) -> Outcome:
    """Try once. `refused` is for good: the receiver said so (4xx), redirects, or is on the
    inside."""
    try:
        url = checked(delivery.url, allow_inside=allow_inside)
        async with asyncio.timeout(_ANSWER_SECONDS):
            post = sent(
                "POST", url, allow_inside=allow_inside, content=delivery.body,
                headers=signed(delivery, secret, int(time.time())), resolving=resolving,
            )  # fmt: skip
            async with post as answer:
                return _outcome(delivery, answer.status_code)
    except (httpx.HTTPError, OSError, TimeoutError, NameUnresolved) as error:
        log.info("webhook %s failed: %s", delivery.id, type(error).__name__)
        return "failed"
    except AddressRefused as error:
        log.warning("webhook %s is not sent: %s", delivery.id, error)
        return "refused"


def _outcome(delivery: Delivery, status: int) -> Outcome:
    log.info("webhook %s for %s was answered %d", delivery.id, delivery.subject, status)
    if 200 <= status < 300:
        return "delivered"
    return "refused" if 300 <= status < 500 else "failed"
