"""The meaning of a checkpoint's token ids: special tokens, languages, suppress lists.

They are read from the checkpoint's JSON files alone, so that neither the API process nor the logits
processor needs transformers. A tokenizer is either a `tokenizer.json` or, as older tools write it,
`vocab.json`, `merges.txt` and `added_tokens.json`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import BadSource
from app.languages import NAMES
from app.models.whisper_vllm.json_files import read_json

TIMESTAMP_MS = 20  # one timestamp token, and one encoder frame
MOST_FRAMES = 1500  # of a window
_TIMESTAMPS = MOST_FRAMES + 1  # <|0.00|> … <|30.00|>
_ENGLISH_VOCABULARY = 51_864
_ADVICE = "Point MARLINSCRIBE_MODEL at a Whisper checkpoint in Hugging Face's layout."


@dataclass(frozen=True)
class SpecialTokens:
    """Token ids of one checkpoint. `languages` maps ISO codes to ids; empty if English-only."""

    end_of_text: int
    start: int
    start_of_previous: int
    transcribe: int
    translate: int
    no_speech: int
    no_timestamps: int
    first_timestamp: int
    languages: dict[str, int]
    suppressed: tuple[int, ...]  # never sampled: special tokens and the checkpoint's own list
    suppressed_at_begin: tuple[int, ...]  # not as the first sampled token
    max_initial_timestamp: int  # steps of TIMESTAMP_MS
    max_tokens: int  # decoder positions, the prompt included

    @property
    def timestamps(self) -> range:
        return range(self.first_timestamp, self.first_timestamp + _TIMESTAMPS)

    @classmethod
    def load(cls, folder: Path) -> "SpecialTokens":
        """Read a checkpoint's folder. Raises BadSource where the folder is not a Whisper's."""
        vocabulary = special_tokens(folder)
        config = read_json(folder / "config.json", _ADVICE)
        generation = config | read_json(folder / "generation_config.json", _ADVICE)

        def token(*spellings: str) -> int:
            for spelling in spellings:
                if spelling in vocabulary:
                    return vocabulary[spelling]
            raise BadSource(f"{folder} has no {spellings[0]} token.", _ADVICE)

        end, no_timestamps = token("<|endoftext|>"), token("<|notimestamps|>")
        # Timestamps follow the special tokens; older vocabularies do not list them.
        first_timestamp = vocabulary.get("<|0.00|>", no_timestamps + 1)
        special = {i for i in vocabulary.values() if i != end and i < first_timestamp}
        return cls(
            end_of_text=end,
            start=token("<|startoftranscript|>"),
            start_of_previous=token("<|startofprev|>"),
            transcribe=token("<|transcribe|>"),
            translate=token("<|translate|>"),
            no_speech=token("<|nospeech|>", "<|nocaptions|>"),
            no_timestamps=no_timestamps,
            first_timestamp=first_timestamp,
            languages=_languages(generation, vocabulary),
            suppressed=tuple(sorted(special | set(generation.get("suppress_tokens") or ()))),
            suppressed_at_begin=tuple(generation.get("begin_suppress_tokens") or ()),
            max_initial_timestamp=generation.get("max_initial_timestamp_index") or 50,
            max_tokens=config.get("max_target_positions", 448),
        )


def special_tokens(folder: Path) -> dict[str, int]:
    """Return every token that is not made of characters, and its id. Raises BadSource without
    any."""
    if (folder / "tokenizer.json").exists():
        added = read_json(folder / "tokenizer.json", _ADVICE).get("added_tokens", [])
        return {entry["content"]: entry["id"] for entry in added}
    if not all((folder / name).exists() for name in ("vocab.json", "merges.txt")):
        raise BadSource(f"{folder} has no tokenizer.json, nor vocab.json and merges.txt.", _ADVICE)
    tokens = read_json(folder / "vocab.json", _ADVICE) | read_json(
        folder / "added_tokens.json", _ADVICE
    )
    return {content: i for content, i in tokens.items() if content.startswith("<|")}


def knows_english_alone(config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of English alone, by its config.json, or that and its
    generation_config.json in one."""
    multilingual = config.get("is_multilingual")
    if multilingual is None:  # openai/whisper: a multilingual vocabulary has one token more
        return config.get("vocab_size") == _ENGLISH_VOCABULARY
    return not multilingual


def _languages(generation: dict[str, Any], vocabulary: dict[str, int]) -> dict[str, int]:
    if knows_english_alone(generation):
        return {}
    declared = generation.get("lang_to_id")
    if declared:
        return {token.strip("<|>"): i for token, i in declared.items()}
    return {code: vocabulary[f"<|{code}|>"] for code in NAMES if f"<|{code}|>" in vocabulary}
