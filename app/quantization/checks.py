"""Checks of a request's recordings and limits, before anything is spent on it."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Literal

from app.audio.decoding import Decoders
from app.audio.waveform import Waveform
from app.errors import BadField, StartupError
from app.models.whisper_vllm.tokens import SpecialTokens
from app.quantization.request import QuantizationRequest
from app.recordings.clip import Clip
from app.recordings.error_rates import FEWEST, normalized
from app.sources.source import Source

Field = Literal["model", "recipe", "calibration", "proof", "thresholds", "canaries"]
Decode = Callable[[Clip], Waveform]


@contextmanager
def as_bad_field(field: Field) -> Iterator[None]:
    """Translate what is wrong with a field's files into a BadField of that field."""
    try:
        yield
    except StartupError as error:
        raise BadField(error.message, param=field, code=error.code) from error
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise BadField(f"It is not what it should be: {error!r}.", param=field) from error


def languages(source: Source) -> Collection[str]:
    """Return the languages that a checkpoint knows; an English-only checkpoint names none."""
    return SpecialTokens.load(source.folder).languages.keys() or {"en"}


def check_known(field: Field, clips: list[Clip], known: Collection[str]) -> None:
    unknown = sorted({clip.language for clip in clips} - set(known))
    if unknown:
        names = ", ".join(unknown)
        raise BadField(f"The checkpoint does not know the language {names}.", param=field)


def check_sound(field: Field, clips: list[Clip], decode: Decode | None) -> None:
    """Check that recordings can be decoded: better now than hours later. `decode` does it, else
    this process."""
    with as_bad_field(field):
        for clip in clips:
            decode(clip) if decode else clip.waveform()


def from_thread(decoders: Decoders) -> Decode:
    """Return a function that has a recording decoded for another thread than the event loop's."""
    loop = asyncio.get_running_loop()

    def decode(clip: Clip) -> Waveform:
        return asyncio.run_coroutine_threadsafe(clip.decoded(decoders), loop).result()

    return decode


def check_limits(request: QuantizationRequest, heard: list[Clip]) -> None:
    """Check that limits are of languages in the proof set, and that each of its languages can be
    scored."""
    spoken = {clip.language for clip in heard}
    extra = sorted(request.thresholds.languages.keys() - spoken)
    if extra:
        raise BadField(
            f"There is a limit for {extra[0]}, and no such recording in the proof set.",
            param="thresholds",
        )
    for language in sorted(spoken):
        texts = [clip.text for clip in heard if clip.language == language]
        if request.thresholds.of(language).min_recovery_low is not None and len(texts) < FEWEST:
            raise BadField(
                f"min_recovery_low asks for at least {FEWEST} recordings of a language, and there "
                f"are {len(texts)} in {language}: the interval of so few says little.",
                param="thresholds",
            )
        if not any(normalized(text, language).strip() for text in texts):
            raise BadField(f"The proof set has no words in {language}.", param="proof")


def check_apart(learned: list[Clip], heard: list[Clip]) -> None:
    """Check that no recording is both calibrated on and measured by: such a proof would say
    nothing."""
    content_hashes = [
        {sha256(clip.content()).digest() for clip in clips} for clips in (learned, heard)
    ]
    both = content_hashes[0] & content_hashes[1]
    if both:
        raise BadField(
            f"{len(both)} recordings are both calibrated on and judged by: such a proof says "
            "nothing of other speech.",
            param="proof",
        )
