"""A checkpoint's alignment heads: the decoder's cross-attention heads that look where in the audio
the next token is heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.errors import BadSource
from app.files import write_json
from app.models.whisper_vllm.json_files import read_json

Head = tuple[int, int]  # a decoder layer, and a head in it, both from 0
LaggingHead = tuple[int, int, int]  # and the frames by which its attention is early

_OWN = "alignment.json"  # what `marlinscribe align-heads` found
_ADVICE = "Have heads chosen: marlinscribe align-heads FOLDER."
# By OpenAI's own list, which tells a checkpoint and its fine-tunes: what app.speech.head_choice
# finds on joe's clean recordings in demo/recordings/words.
_MEASURED: Mapping[tuple[tuple[int, ...], ...], tuple[LaggingHead, ...]] = {
    # whisper-tiny.en
    ((1, 0), (2, 0), (2, 5), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)): ((1, 5, 5), (2, 0, -4)),
    # whisper-base
    ((3, 1), (4, 2), (4, 3), (4, 7), (5, 1), (5, 2), (5, 4), (5, 6)): (
        (3, 3, -7), (4, 0, -6), (4, 1, -5), (4, 2, 7), (5, 1, 5), (5, 5, 0),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class AlignmentHeads:
    """The heads that words are aligned by, and the frames by which the attention of each is early.

    source: who named them. "chosen": for this checkpoint, by `align-heads`. "measured": for its
    kind, by us. "checkpoint": its generation_config.json. "default": they are all of the upper half
    of its layers (openai/whisper `model.py`). word_times: the errors they were chosen by.
    """

    heads: tuple[Head, ...]
    lags: tuple[int, ...]
    source: Literal["chosen", "measured", "checkpoint", "default"]
    word_times: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> "AlignmentHeads":
        """Return those of the checkpoint in a folder. Raises BadSource where it has no such
        heads."""
        own, config = (
            read_json(folder / _OWN, _ADVICE),
            read_json(folder / "generation_config.json", _ADVICE),
        )
        if own.get("heads"):
            return cls._of(_checked(own["heads"], folder, 3), "chosen", own.get("word_times"))
        named = _checked(config.get("alignment_heads") or (), folder, 2)
        if measured := _MEASURED.get(named):
            return cls._of(measured, "measured")
        if named:
            return cls._of([(*head, 0) for head in named], "checkpoint")
        layers, _ = _shape(folder)
        upper = [(*head, 0) for head in all_heads(folder) if head[0] >= layers // 2]
        return cls._of(upper, "default")

    @classmethod
    def _of(
        cls,
        heads: Sequence[tuple[int, ...]],
        source: Literal["chosen", "measured", "checkpoint", "default"],
        word_times: Mapping[str, Any] | None = None,
    ) -> "AlignmentHeads":
        """Return lagging heads in the order in which they are recorded."""
        in_order = sorted(heads)
        return cls(
            tuple((layer, head) for layer, head, _ in in_order),
            tuple(lag for *_, lag in in_order),
            source,
            word_times or {},
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What /v1/models tells of them."""
        times = {"word_times": self.word_times} if self.word_times else {}
        return {"heads": len(self.heads), "source": self.source, **times}


def all_heads(folder: Path) -> tuple[Head, ...]:
    """Return all cross-attention heads of a checkpoint's decoder."""
    layers, heads = _shape(folder)
    return tuple((layer, head) for layer in range(layers) for head in range(heads))


def keep(folder: Path, heads: Mapping[Head, int], figures: Mapping[str, Any]) -> Path:
    """Write chosen heads and their lags beside a checkpoint, with the figures that they were chosen
    by; return the file. Raises OSError."""
    rows = [[*head, lag] for head, lag in heads.items()]
    write_json(folder / _OWN, {"heads": rows, "word_times": figures})
    return folder / _OWN


def _shape(folder: Path) -> tuple[int, int]:
    """Return how many layers a decoder has, and how many heads each. Raises BadSource."""
    config = read_json(folder / "config.json", _ADVICE)
    try:
        return config["decoder_layers"], config["decoder_attention_heads"]
    except KeyError as error:
        raise BadSource(
            f"{folder} has no config.json with {error}.", "Give a Whisper checkpoint's folder."
        ) from error


def _checked(named: Any, folder: Path, length: int) -> tuple[tuple[int, ...], ...]:
    """Return lists of layer, head and perhaps lag, whose heads a checkpoint has. Raises
    BadSource."""
    try:
        heads = tuple(tuple(map(int, one)) for one in named)
    except (TypeError, ValueError):
        heads = ((),)
    if any(len(one) != length for one in heads):
        raise BadSource(f"{folder} names alignment heads in a form that is not known.", _ADVICE)
    layers, count = _shape(folder)
    for layer, head, *_ in heads:
        if not (0 <= layer < layers and 0 <= head < count):
            raise BadSource(
                f"{folder} names head {head} of decoder layer {layer} for the times of words, and "
                f"has {count} heads in each of {layers} layers.",
                _ADVICE,
            )
    return heads
