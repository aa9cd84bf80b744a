"""marlinscribe short-encoder: measure what an encoder as long as the window costs a checkpoint."""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from app.audio.decoding import InThisProcess
from app.audio.waveform import Waveform
from app.checkpoints.checkpoint import Checkpoint
from app.commands.console import FAILURE, SUCCESS, USAGE, settings_for
from app.errors import MarlinscribeError, NoCalibration
from app.jobs import Job, JobReporter
from app.models.whisper_vllm.encoder_length import FEWEST, LengthClass, keep
from app.models.whisper_vllm.plan import check_device, pick_device
from app.models.whisper_vllm.tokens import SpecialTokens
from app.quantization.encoder_check import length_classes
from app.quantization.proving import transcribe_set
from app.recordings.clip import Clip
from app.recordings.read import recordings
from app.serving.loading import Loader
from app.settings import Settings
from app.sources.source import Source
from app.speech.cutting import Cutting, cut

_WINDOWS = 4  # decoded at once, as in a proof


def short_encoder(arguments: argparse.Namespace) -> int:
    """Write what it costs beside the checkpoint, where `MARLINSCRIBE_SHORT_ENCODER=auto` looks."""
    console = Console(stderr=True)
    settings = settings_for(console)
    if settings is None:
        return USAGE
    try:
        clips = list(_understood(arguments.recordings, arguments.folder))
        if len(clips) < FEWEST:
            raise NoCalibration(
                f"{arguments.recordings} has {len(clips)} of at least {FEWEST} recordings that a "
                "verdict needs, in languages that the checkpoint knows.",
                "Give a manifest of more, or leave --recordings out.",
            )
        found = asyncio.run(_measured(arguments.folder, clips, settings))
        for one in found:
            print(_line(one))
        print(keep(arguments.folder, found))
    except (OSError, MarlinscribeError) as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        return FAILURE
    return SUCCESS


def _understood(source: Path, folder: Path) -> Iterator[Clip]:
    """Yield recordings in the checkpoint's languages: of others it writes what nobody said, by
    either encoder. Raises BadSource, NoCalibration."""
    known = SpecialTokens.load(folder).languages or {"en"}
    return (clip for clip in recordings(source, "en") if clip.language in known)


def _line(one: LengthClass) -> str:
    verdict = "short" if one.passes else "whole"
    return (
        f"up to {one.longest_ms / 1000:g} s: {one.points:+.2f} points "
        f"({one.low:+.2f} to {one.high:+.2f}) of {one.recordings} recordings: {verdict}"
    )


async def _measured(
    folder: Path, clips: Sequence[Clip], settings: Settings
) -> tuple[LengthClass, ...]:
    """Hear the recordings twice. Raises StartupError, EngineDied, RequestError."""
    here, cutting = InThisProcess(), Cutting.of(settings)
    durations = [_longest_ms(await clip.decoded(here), cutting) for clip in clips]
    whole = await _heard(folder, clips, settings.model_copy(update={"short_encoder": "off"}))
    short = await _heard(folder, clips, settings.model_copy(update={"short_encoder": "on"}))
    return await asyncio.to_thread(length_classes, clips, durations, whole, short)


def _longest_ms(wave: Waveform, cutting: Cutting) -> int:
    """Return how long the longest window of a recording is: windows are shortened, and what is no
    speech is not in them."""
    return max((window.duration_ms for window in cut(wave, cutting)), default=0)


async def _heard(folder: Path, clips: Sequence[Clip], settings: Settings) -> list[str]:
    device = pick_device(settings.device)
    check_device(device)
    checkpoint = Checkpoint(Source(folder.name, folder, ""), folder)
    model = await Loader(settings, device).load(checkpoint, None, windows=_WINDOWS, patient=True)
    reporter = JobReporter(Job("", {}, ""), lambda *_: None)
    try:
        heard = await transcribe_set(
            model, clips, reporter, InThisProcess(), cutting=Cutting.of(settings)
        )
        return heard.texts
    finally:
        await asyncio.to_thread(model.loaded.engine.stop)
