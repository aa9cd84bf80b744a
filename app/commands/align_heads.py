"""marlinscribe align-heads: choose the heads that a checkpoint's words are aligned by."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from app.audio.decode import decode
from app.client import explained
from app.commands.console import FAILURE, SUCCESS, USAGE, print_error, settings_for
from app.errors import MarlinscribeError, NoCalibration
from app.models.base import DecodeRequest, WindowResult
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.alignment_heads import AlignmentHeads, Head, all_heads, keep
from app.models.whisper_vllm.decoder import WhisperDecoder
from app.models.whisper_vllm.engine import VllmEngine
from app.models.whisper_vllm.plan import check_device, pick_device, plan_engine, shape_on
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens
from app.models.whisper_vllm.word_times import token_words
from app.recordings.clip import Clip
from app.recordings.read import recordings
from app.recordings.word_times import matches, word_times
from app.settings import Settings
from app.speech.alignment import head_scores
from app.speech.cutting import Cutting, cut
from app.speech.head_choice import Known, off_ms
from app.speech.head_choice import chosen as choose
from app.speech.windows import Window

_WINDOWS = 4  # decoded at once: what all heads attend to takes memory
_LONGEST = 3600  # seconds of a recording


def align_heads(arguments: argparse.Namespace) -> int:
    """Write the chosen heads beside the checkpoint, where they are better than those it had; 1
    where there is nothing to choose by."""
    console = Console(stderr=True)
    settings = settings_for(console)
    if settings is None:
        return USAGE
    folder: Path = arguments.folder
    try:
        had = AlignmentHeads.of(folder)
        clips = [clip for clip in recordings(arguments.recordings, "en") if clip.words]
        if len(clips) < 2:
            raise NoCalibration(
                f"{arguments.recordings} has fewer than two recordings with the times of words.",
                "Give each a field `words`: [[start s, end s, text], …].",
            )
        windows = asyncio.run(_known(folder, clips, settings))
        if not (any(windows[::2]) and any(windows[1::2])):
            raise NoCalibration(
                "Hardly a word is heard as it was said.", "Take clearer recordings, or more."
            )
        chosen, is_better = _choose(windows, had, all_heads(folder))
        if is_better:
            print(keep(folder, chosen, _by_language(clips, windows, chosen, all_heads(folder))))
        else:
            print("The heads that it had are better, and kept.")
    except (OSError, MarlinscribeError) as error:
        print_error(console, explained(error))
        return FAILURE
    return SUCCESS


def _choose(
    windows: Sequence[Sequence[Known]], had: AlignmentHeads, heads: Sequence[Head]
) -> tuple[dict[Head, int], bool]:
    """Choose by every other recording, and judge by the others; return what was chosen, and whether
    it is better than what there was. windows: of each recording."""
    learned = [window for several in windows[::2] for window in several]
    judged = [window for several in windows[1::2] for window in several]
    found = {heads[number]: lag for number, lag in choose(learned, len(heads)).items()}
    least = _shown("had", judged, dict(zip(had.heads, had.lags, strict=True)), heads)
    return found, _shown("chosen", judged, found, heads) < least


def _shown(
    name: str, windows: Sequence[Known], chosen: Mapping[Head, int], heads: Sequence[Head]
) -> float:
    """Print the errors of some heads; return the mean one, in milliseconds."""
    off = off_ms(windows, [heads.index(head) for head in chosen], list(chosen.values()))
    if found := word_times(list(np.abs(off) / 1000), len(off)):
        print(
            f"{name:7} {len(chosen):2} heads: median {found.median_ms:.0f} ms, "
            f"p95 {found.p95_ms:.0f} ms, late by {np.median(off):.0f} ms, of {found.words} words"
        )
    return float(np.abs(off).mean())


def _by_language(
    clips: Sequence[Clip],
    windows: Sequence[Sequence[Known]],
    chosen: Mapping[Head, int],
    heads: Sequence[Head],
) -> dict[str, Any]:
    """Return the errors of chosen heads by language, of the recordings that they were not chosen
    by."""
    languages: dict[str, list[Known]] = {}
    for clip, several in list(zip(clips, windows, strict=True))[1::2]:
        languages.setdefault(clip.language, []).extend(several)
    numbers, lags = [heads.index(head) for head in chosen], list(chosen.values())
    off = {name: off_ms(several, numbers, lags) for name, several in languages.items() if several}
    found = {name: word_times(list(np.abs(one) / 1000), len(one)) for name, one in off.items()}
    return {name: one.model_dump() for name, one in found.items() if one}


# A window, its words' first tokens and texts, and the scores of all heads.
_Decoded = tuple[WindowResult, list[tuple[int, str]], npt.NDArray[np.float16]]


async def _known(folder: Path, clips: Sequence[Clip], settings: Settings) -> list[list[Known]]:
    """Return the windows of each recording, by all heads of a checkpoint. Raises EngineFailed,
    EngineDied, RequestError."""
    device = pick_device(settings.device)
    check_device(device)
    forkserver.start(device, forkserver.environment(device, settings.log_level))
    tokens = SpecialTokens.load(folder)
    plan = plan_engine(shape_on(folder, device), device, windows=_WINDOWS)
    engine = await asyncio.to_thread(
        VllmEngine.start, folder.name, folder, plan, tokens, None, all_heads(folder)
    )
    try:
        aligner = _Aligner(engine, tokens, TextCodec(folder, tokens), Cutting.of(settings))
        return [await aligner.windows(clip) for clip in clips]
    finally:
        await asyncio.to_thread(engine.stop)


class _Aligner:
    """Decodes recordings, and finds their words in what each head attends to."""

    def __init__(
        self, engine: VllmEngine, tokens: SpecialTokens, text: TextCodec, cutting: Cutting
    ) -> None:
        self._decoder = WhisperDecoder(engine, tokens, text)
        self._content = text.content
        self._cutting = cutting

    async def windows(self, clip: Clip) -> list[Known]:
        """Return the windows of a recording in which a word is heard as it was said. Raises
        RequestError, EngineDied."""
        windows = await asyncio.to_thread(self._cut, clip)
        requests = [DecodeRequest(one, (clip.language,), words=True) for one in windows]
        decoded = [await self._decoded(request) for request in requests]
        return await asyncio.to_thread(self._matched, clip, decoded)

    def _cut(self, clip: Clip) -> list[Window]:
        assert isinstance(clip.audio, Path), "recordings with words are files"
        with clip.audio.open("rb") as file:
            return list(cut(decode(file, max_seconds=_LONGEST), self._cutting))

    async def _decoded(self, request: DecodeRequest) -> _Decoded:
        async for result in self._decoder.decode_window(request):
            last = result
        sampled, attention = await self._decoder.attended(last)
        segments = [*last.closed, *([last.tail] if last.tail else [])]
        words = [w for several in token_words(segments, sampled, self._content) for w in several]
        scores = head_scores(attention.weights()).astype(np.float16)
        return last, [(word.first, word.text) for word in words], scores

    def _matched(self, clip: Clip, decoded: Sequence[_Decoded]) -> list[Known]:
        """Give the words that were heard as they were said their known starts."""
        heard = [(at, token, text) for at, one in enumerate(decoded) for token, text in one[1]]
        said = [word.text for word in clip.words]
        found: list[list[tuple[int, float]]] = [[] for _ in decoded]
        for said_at, heard_at in matches(said, [text for _, _, text in heard], clip.language):
            at, token, _ = heard[heard_at]
            window = decoded[at][0].request.window
            found[at].append((token, window.point_of(round(1000 * clip.words[said_at].start))))
        return [
            Known(scores, *map(tuple, zip(*known, strict=True)))
            for (_, _, scores), known in zip(decoded, found, strict=True)
            if known
        ]
