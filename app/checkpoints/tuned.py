"""The record of a choice of bits by layer: for which scenario, on which device, and from what."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from app.checkpoints.device import described, fingerprint
from app.recordings.spec import Above0, From0, Number, Plain

log = logging.getLogger(__name__)


class Point(Plain):
    """What a choice costs and loses, as expected. seconds: of a clip. bytes: of the weights. loss:
    in nats a token."""

    seconds: From0
    bytes: From0
    loss: Number


class Tuned(Plain):
    """How a recipe's layers were chosen. It decides nothing of what is made.

    device: the fingerprint of the device whose times decided, device_name in words. clip_seconds:
        of speech, in the clip that the times are of. at_once: windows decoded at once. limits: on a
        clip's seconds, bytes and loss. front: the choices that no other beats. uniform: recipes
        without a choice by layer, by name.
    """

    scenario: Literal["latency", "throughput", "memory"]
    device: str = Field(pattern="^[0-9a-f]{16}$")
    device_name: str = Field(max_length=300)
    clip_seconds: Above0
    at_once: int = Field(ge=1, strict=True)
    limits: Mapping[Literal["seconds", "bytes", "loss"], Number] = {}
    chosen: Point
    front: tuple[Point, ...] = Field((), max_length=100)
    uniform: Mapping[str, Point] = Field({}, max_length=100)


def standing(tuned: Tuned | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what /v1/models says of a choice of bits on a device with such facts, and warn where
    the choice was made for another; nothing where there was no choice."""
    if tuned is None:
        return {}
    here = fingerprint(facts)
    if tuned.device != here:
        log.warning(
            "The bits by layer were chosen for %s on %s, and this is %s: others may be better "
            "here. `marlinscribe tune --scenario %s` chooses again.",
            tuned.scenario, tuned.device_name, described(facts), tuned.scenario,
        )  # fmt: skip
    return {
        "tuned": {
            "scenario": tuned.scenario,
            "device": tuned.device_name,
            "is_this_device": tuned.device == here,
        }
    }
