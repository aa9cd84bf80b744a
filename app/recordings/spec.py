"""Descriptions of sets of recordings: typed and hashable, naming where the recordings lie."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_MOST_SAMPLES = 1_000_000

# In JSON `false` is no number, and 1e999 none that could be written again.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
From0 = Annotated[Number, Field(ge=0)]
Above0 = Annotated[Number, Field(gt=0)]


class Plain(BaseModel):
    """A frozen model that refuses unknown fields, so that a misspelt one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RecordingSet(Plain):
    """Recordings with their words. A string stands for its source alone.

    source: a folder, a manifest (jsonl or csv with audio, text, language), or a Hugging Face
        dataset as "id:config:split" or by a short name (see known_sets.py).
    language: ISO code of recordings that name none.
    """

    source: str
    language: str = "en"


_Given = str | RecordingSet | list[str | RecordingSet]


def _as_sets(given: Any) -> Any:
    """Return a list of sets for one set or several, each perhaps a string."""
    several = given if isinstance(given, list | tuple) else [given]
    return [{"source": one} if isinstance(one, str) else one for one in several]


class Recordings(Plain):
    """Recordings chosen from sets: in turn from each, or by `mix` of languages.

    samples: how many; None takes all there are, which only finite sets allow.
    mix: languages to their share, such as {"en": 1, "zh": 3}; others are left out.
    """

    sources: Annotated[
        tuple[RecordingSet, ...],
        BeforeValidator(_as_sets, json_schema_input_type=_Given),
        Field(min_length=1),
    ]
    samples: Annotated[int, Field(ge=1, le=_MOST_SAMPLES, strict=True)] | None = 256
    mix: Mapping[str, Annotated[float, Field(gt=0, le=_MOST_SAMPLES, strict=True)]] = {}

    @model_validator(mode="after")
    def _mix_of_a_number(self) -> Self:
        if self.mix and self.samples is None:
            raise ValueError("a mix needs a number of samples")
        return self
