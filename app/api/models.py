"""GET /v1/models: which models are served, and where they came from."""

from typing import Any, Literal

from fastapi import APIRouter, Depends
from typing_extensions import TypedDict

from app.api.context import Ctx
from app.api.openapi import errors
from app.api.security import require_key
from app.serving.state import ModelSlot


class Model(TypedDict):
    """A model: OpenAI's fields and two of ours; `marlinscribe` holds scheme, kernels, bytes,
    source, fingerprint, and recipe, calibration and proof where the service made it. An alias is an
    entry of its own, of which `marlinscribe` holds `alias_of`: the name of the model that serves.
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    aliases: list[str]
    marlinscribe: dict[str, Any]


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[Model]


router = APIRouter(
    prefix="/v1/models",
    tags=["models"],
    dependencies=[Depends(require_key)],
    responses=errors(401, 503),
)


@router.get("")
async def models(context: Ctx) -> ModelList:
    """List the models that are served, the default first, then their aliases."""
    slots = context.state.slots.values()
    known = [slot for slot in slots if slot.is_known]
    if not known:
        context.state.default.known()  # raises
    aliases = [_alias(alias, slot) for slot in known for alias in slot.aliases]
    return ModelList(object="list", data=[_model(slot) for slot in known] + aliases)


@router.get("/{model:path}", responses=errors(404))
async def model(context: Ctx, model: str) -> Model:
    """Return a served model by its id, or what a transcription's `model` of that name means."""
    slot = context.state.slot(model)
    return _model(slot) if model == slot.name else _alias(model, slot)


def _model(slot: ModelSlot) -> Model:
    served = slot.known()
    return Model(
        id=slot.name,
        object="model",
        created=served.since,
        owned_by="marlinscribe",
        aliases=list(slot.aliases),
        marlinscribe=served.facts,
    )


def _alias(name: str, slot: ModelSlot) -> Model:
    return _model(slot) | {"id": name, "aliases": [], "marlinscribe": {"alias_of": slot.name}}
