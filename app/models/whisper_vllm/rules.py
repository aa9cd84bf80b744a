"""Whisper's decoding grammar as arithmetic on token ids: which tokens may come next.

One pass decides language, task, text and timestamps. The prompt ends with `<|startoftranscript|>`;
the first step chooses the language, the second is the task, and then come text and timestamps:

    <|en|> <|transcribe|> <|0.00|> text <|2.40|> <|2.40|> text <|5.10|> <|endoftext|>

Timestamp rules after openai/whisper `decoding.py::ApplyTimestampRules`: timestamps come in pairs
and never go back, no segment is empty, and the first timestamp lies near the window's start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.models.whisper_vllm.tokens import SpecialTokens

# Frames. Where the encoder hears no long silence behind a window, a model tells its last sentence
# once more, as if it came behind the window's end.
_LEAST_SEGMENT = 10


@dataclass(frozen=True)
class WindowRules:
    """The rules of one window. `languages` are the ISO codes that may be spoken; with none named,
    any that the checkpoint knows. frames: how long the window is, where the encoder hears little
    behind it; 0 where it hears 30 s."""

    languages: tuple[str, ...] = ()
    translate: bool = False
    timestamps: bool = True
    frames: int = 0


@dataclass(frozen=True)
class Allow:
    """Only these ids may come next."""

    ids: tuple[int, ...]


@dataclass(frozen=True)
class Ban:
    """Anything may come next but these ranges (and the checkpoint's suppressed tokens).

    begin: the checkpoint's begin-suppressed tokens are banned too.
    timestamp_if_likelier: if all timestamps together are likelier than the likeliest text token,
        only a timestamp may come.
    """

    ranges: tuple[range, ...] = ()
    begin: bool = False
    timestamp_if_likelier: bool = False


def forced_steps(tokens: SpecialTokens, rules: WindowRules) -> list[tuple[int, ...]]:
    """Return the ids that are allowed at each of the first steps, which carry no text."""
    steps: list[tuple[int, ...]] = []
    if tokens.languages:
        known = tokens.languages
        steps.append(tuple(known[code] for code in rules.languages or known))
        steps.append((tokens.translate if rules.translate else tokens.transcribe,))
    if not rules.timestamps:
        steps.append((tokens.no_timestamps,))
    return steps


def next_step(
    tokens: SpecialTokens,
    forced: Sequence[tuple[int, ...]],
    generated: Sequence[int],
    frames: int = 0,
) -> Allow | Ban:
    """Return what may follow `generated` (all ids after the prompt, forced ones included) in a
    window of so many frames, see WindowRules."""
    if len(generated) < len(forced):
        return Allow(forced[len(generated)])
    sampled = generated[len(forced) :]
    if forced and forced[-1] == (tokens.no_timestamps,):
        return Ban((tokens.timestamps,), begin=not sampled)
    return _timestamp_step(tokens, sampled, frames)


def _timestamp_step(tokens: SpecialTokens, sampled: Sequence[int], frames: int) -> Ban:
    stamps = tokens.timestamps
    text = range(tokens.end_of_text)  # not the end itself
    if not sampled:
        # A window opens with a timestamp, and near its start.
        late = range(stamps.start + tokens.max_initial_timestamp + 1, stamps.stop)
        return Ban((range(tokens.end_of_text + 1), late), begin=True)

    last_is_stamp = sampled[-1] in stamps
    # The opening timestamp has no partner before it, so it counts as the second of a pair.
    before_is_stamp = len(sampled) < 2 or sampled[-2] in stamps
    if last_is_stamp and before_is_stamp:
        return Ban((stamps,))

    banned = [text] if last_is_stamp else []
    earlier = [i for i in sampled if i in stamps]
    if earlier:
        # A closing timestamp may be repeated as the next opening one; a text segment must end
        # later than it began.
        floor = earlier[-1] if last_is_stamp else earlier[-1] + 1
        banned.append(range(stamps.start, floor))
    if frames:
        latest = frames - _LEAST_SEGMENT if last_is_stamp else frames
        banned.append(range(max(stamps.start, stamps.start + latest + 1), stamps.stop))
    return Ban(tuple(banned), timestamp_if_likelier=True)
