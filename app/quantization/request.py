"""The request for a quantization job: plain types, as they come over the wire."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from app.checkpoints.recipe import Recipe
from app.languages import code_of
from app.quantization.auto_recipe import AnyRecipe
from app.recordings.spec import From0, Plain, Recordings

# Strict: a number in quotes, or true, is an error.
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Promote = Literal["auto", "manual", "never"]
_RECIPES = [
    {"method": "gptq", "scheme": "W4A16", "group_size": 128},
    {"scheme": "auto", "scenario": "latency", "most_loss": 0.02},
]


class Limits(Plain):
    """The limits of one language. Rates are WER, or CER where a language is measured by characters.

    min_recovery: the least recovery, the source's error rate by the candidate's.
    min_recovery_low: the least lower end of recovery's 95 % interval, which asks for certainty,
        and for enough recordings (error_rates.FEWEST).
    max_increase: of the error rate, in absolute terms (0.01 is one point).
    max_error_rate: of the candidate, whatever the source's.
    """

    min_recovery: Share | None = 0.9
    min_recovery_low: Share | None = None
    max_increase: Share | None = None
    max_error_rate: From0 | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        both = self.min_recovery is not None and self.min_recovery_low is not None
        if both and self.min_recovery_low > self.min_recovery:  # type: ignore[operator]
            raise ValueError(
                "min_recovery_low is above min_recovery, which then decides nothing: "
                "an interval's lower end is never above the estimate"
            )
        return self


def _by_code(limits: Mapping[str, Limits]) -> Mapping[str, Limits]:
    """Key limits by ISO code, where languages are named as people name them: zh-TW, Chinese."""
    by_code = {code_of(name) or name: one for name, one in limits.items()}
    if len(by_code) < len(limits):
        raise ValueError("a language is named twice")
    return by_code


class Thresholds(Limits):
    """The limits that all have to hold for a candidate to be proven, for every language of the
    proof set.

    languages: limits of their own for some; what one leaves unsaid is the general limit's, and
        null is none at all.
    max_nll_increase: in nats a token, under teacher forcing, over all languages.
    min_token_agreement: share of tokens that source and candidate both think likeliest.
    """

    languages: Annotated[Mapping[str, Limits], AfterValidator(_by_code)] = {}
    max_nll_increase: From0 | None = None
    min_token_agreement: Share | None = None

    @field_validator("languages", mode="before")
    @classmethod
    def _inherited(cls, given: Any, info: ValidationInfo) -> Any:
        """Before they are looked at, so that what makes no sense together is refused."""
        general = {name: info.data[name] for name in Limits.model_fields if name in info.data}

        def whole(own: Any) -> Any:
            if isinstance(own, Limits):
                own = own.model_dump(exclude_unset=True)
            return general | dict(own) if isinstance(own, Mapping) else own

        if not isinstance(given, Mapping):
            return given
        return {name: whole(own) for name, own in given.items()}

    def of(self, language: str) -> Limits:
        return self.languages.get(language, self)


class QuantizationRequest(Plain):
    """A request to make a checkpoint and to prove it.

    model: Hugging Face id or local folder; that of the settings where it is not given.
    recipe: how the weights are quantized, or "scheme": "auto" with a scenario, to have that chosen.
    calibration, proof: the recordings to calibrate on and to measure by; the demo has its own.
    promote: auto serves a proven checkpoint at once, manual waits for a request, never rules it
        out.
    """

    model: str | None = None
    recipe: AnyRecipe = Field(Recipe(), examples=_RECIPES)
    calibration: Recordings | None = None
    proof: Recordings | None = None
    thresholds: Thresholds = Thresholds()
    promote: Promote = "manual"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.recipe.calibration is not None and self.calibration is not None:
            raise ValueError("calibration is given twice, in the recipe and beside it")
        emulate = isinstance(self.recipe, Recipe) and self.recipe.emulate
        if emulate and self.promote == "auto":
            raise ValueError("what is emulated cannot be served, so not promoted either")
        return self

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
