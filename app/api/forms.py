"""The form fields of a transcription request, and the values that each may have.

The models check requests, describe them in /openapi.json and fill docs/reference.md.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

_LONGEST_TEXT = 20_000  # characters; of a prompt the decoder reads the last 224 tokens
_MOST_ITEMS = 200

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
Text = Annotated[str, Field(max_length=_LONGEST_TEXT)]
Texts = Annotated[tuple[Text, ...], Field(max_length=_MOST_ITEMS)]


class ChunkingStrategy(BaseModel):
    """What counts as speech. A field that is left out is as the service's settings have it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["auto", "server_vad"]
    threshold: float | None = Field(None, gt=0, lt=1)
    prefix_padding_ms: int | None = Field(None, ge=0, le=5000)
    silence_duration_ms: int | None = Field(None, ge=0, le=30_000)

    @property
    def own(self) -> dict[str, Any]:
        """The fields that were sent."""
        return self.model_dump(exclude={"type"}, exclude_none=True)

    @model_validator(mode="after")
    def _automatic_is_all_automatic(self) -> "ChunkingStrategy":
        if self.type == "auto" and self.own:
            raise PydanticCustomError(
                "fields_together",
                "type auto takes no {names}",
                {"names": " nor ".join(self.own)},
            )
        return self


def _as_strategy(value: object) -> object:
    """Read `auto`, and an object that was sent as JSON."""
    if value == "auto":
        return {"type": value}
    if not isinstance(value, str):
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):  # the latter of junk that is nested deep
        read = None
    if not isinstance(read, dict):
        raise PydanticCustomError("no_object", "it is neither 'auto' nor an object in JSON")
    return read


Strategy = Annotated[
    ChunkingStrategy | None,
    BeforeValidator(_as_strategy, json_schema_input_type=Literal["auto"] | ChunkingStrategy | None),
]


class SpeechForm(BaseModel):
    """The fields that transcriptions and translations share. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = Field(
        None,
        description="The served model's id, or another name that means it, such as "
        "OpenAI's, `large-v3` or `Systran/faster-whisper-small`.",
        examples=["whisper-1"],
    )
    file_url: Text | None = Field(
        None,
        description="Not OpenAI's: an https address that the recording is fetched from, in place "
        "of `file`, where MARLINSCRIBE_FETCH_URLS allows it.",
    )
    prompt: Text = Field(
        "",
        description="Text that came before, in the audio's language: it sways style and "
        "spelling in every window. Special tokens are dropped; the last 224 tokens count.",
    )
    response_format: ResponseFormat = Field("json", description="Format of the answer.")
    temperature: float = Field(
        0.0, ge=0, le=1, description="0 takes the likeliest token; above 0 tokens are sampled."
    )
    stream: bool = Field(
        False,
        description="Answer as server-sent events, a delta as each segment closes "
        "(with response_format json, text or verbose_json).",
    )
    audio_track: int | None = Field(
        None,
        ge=0,
        le=999,
        description="Not OpenAI's: which of the container's audio tracks, counted from 0; its "
        "default where it is left out.",
    )
    channels: Literal["mix", "split"] = Field(
        "mix",
        description="Not OpenAI's: `split` transcribes each channel by itself and says in "
        "`channel` which one, counted from 0. At most 8, which count as one recording of "
        "the length of all of them.",
    )
    max_line_width: int | None = Field(
        None,
        ge=4,
        le=1000,
        description="For srt and vtt, not OpenAI's: columns a line; a CJK character takes two. "
        "Left out, cues are as people read them.",
    )
    max_line_count: int | None = Field(
        None,
        ge=1,
        le=100,
        description="For srt and vtt, not OpenAI's: lines a cue; needs max_line_width.",
    )
    timestamp_granularities: tuple[Literal["word", "segment"], ...] = Field(
        (),
        description="`word`: `words` with their times as well, with verbose_json; srt and vtt go "
        "by them anyway. `segment`, which verbose_json carries in any case. Words of a translation "
        "have no times.",
    )

    @model_validator(mode="after")
    def _lines_have_a_width(self) -> "SpeechForm":
        if self.max_line_count and not self.max_line_width:
            raise field_fault("max_line_count", "it needs max_line_width beside it")
        return self

    @model_validator(mode="after")
    def _subtitles_are_not_streamed(self) -> "SpeechForm":
        if self.stream and self.response_format in ("srt", "vtt"):
            raise field_fault(
                "stream", f"{self.response_format} is not streamed: ask for json or verbose_json"
            )
        return self


class TranslationForm(SpeechForm):
    """The fields of POST /v1/audio/translations."""

    timestamp_granularities: tuple[Literal["segment"], ...] = Field(
        (), description="`segment`, which verbose_json carries in any case."
    )

    @field_validator("timestamp_granularities", mode="before")
    @classmethod
    def _translated_words_have_no_times(cls, value: Iterable[str]) -> Iterable[str]:
        if isinstance(value, list) and "word" in value:  # JSON may hold what is none
            raise PydanticCustomError("not_supported", "words of a translation have no times")
        return value


class HintedTranslationForm(TranslationForm):
    """A translation as other servers' clients ask for it, who say what is spoken."""

    language: str | None = None


class TranscriptionForm(SpeechForm):
    """The fields of POST /v1/audio/transcriptions."""

    language: str | None = Field(
        None,
        description="Code, English name or tag (zh-TW, eng) of what is spoken; detected "
        "where it is `auto` or left out.",
        examples=["zh"],
    )
    languages: Texts = Field(
        (), description="Candidates, where the language is one of a few; the model chooses."
    )
    keywords: Texts = Field(
        (), description="Words and names to expect, in their spelling; they join the prompt."
    )
    include: tuple[Literal["logprobs"], ...] = Field(
        (), description="`logprobs`: each token's raw log-probability, with json and verbose_json."
    )
    chunking_strategy: Strategy = Field(
        None,
        description="`auto`: speech alone is decoded, cut in pauses. An object of type "
        "`server_vad` says what counts as speech: `threshold`, `prefix_padding_ms`, "
        "`silence_duration_ms`.",
    )

    background: bool = Field(
        False,
        description="Not OpenAI's: answer 202 with a job at once, and transcribe behind all that "
        "somebody waits for. `GET /v1/audio/transcriptions/{id}` tells how far it is.",
    )
    webhook_url: Text | None = Field(
        None,
        description="Not OpenAI's: with `background`, an https address that gets a signed "
        "`transcription.completed` or `transcription.failed` when the job is over.",
    )

    @field_validator("keywords")
    @classmethod
    def _not_endless(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if sum(map(len, value)) > _LONGEST_TEXT:
            raise PydanticCustomError(
                "too_long",
                "together they have more than {most} characters",
                {"most": _LONGEST_TEXT},
            )
        return value

    @model_validator(mode="after")
    def _nobody_listens_in_the_background(self) -> "TranscriptionForm":
        if self.background and self.stream:
            raise field_fault("background", "it excludes stream: follow the job's /events instead")
        if self.webhook_url and not self.background:
            raise field_fault("webhook_url", "it needs background beside it")
        return self

    @model_validator(mode="after")
    def _one_way_to_name_languages(self) -> "TranscriptionForm":
        if self.language and self.languages:
            raise field_fault("languages", "language and languages exclude each other")
        return self

    @model_validator(mode="after")
    def _logprobs_go_with_json(self) -> "TranscriptionForm":
        # verbose_json too, unlike OpenAI: gateways ask for it where their caller asked for json.
        if self.include and self.response_format not in ("json", "verbose_json"):
            raise field_fault("include", "logprobs come with response_format json or verbose_json")
        return self

    @model_validator(mode="after")
    def _words_go_with_verbose_json(self) -> "TranscriptionForm":
        # Subtitles too, unlike OpenAI: their cues go by the times of words, asked for or not.
        if "word" in self.timestamp_granularities and self.response_format in ("json", "text"):
            raise field_fault(
                "timestamp_granularities", "'word' needs response_format verbose_json beside it"
            )
        return self


LISTS = {"languages", "keywords", "timestamp_granularities", "include"}
# x, x[], x[0] and x[key]


def field_fault(field: str, message: str) -> PydanticCustomError:
    """Return the error that a form's validator raises for one of several fields."""
    return PydanticCustomError("fields_together", "{message}", {"field": field, "message": message})
