"""GET /v1/models: which models are served, and where they came from."""

from typing import Any, Literal

from fastapi import APIRouter, Depends
from typing_extensions import TypedDict

from app.api.openapi import errors
from app.api.security import require_key
from app.serving.state import Context, Ctx, ServedModel


class Model(TypedDict):
    """A model: OpenAI's fields and two of ours; `marlinscribe` holds scheme, kernels, bytes,
    source, fingerprint, and recipe, calibration and proof where the service made it."""

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
    """OpenAI's list, one model long."""
    return ModelList(object="list", data=[_model(context, context.known())])


@router.get("/{model:path}", responses=errors(404))
async def model(context: Ctx, model: str) -> Model:
    """The served model, by its id or one of its aliases."""
    served = context.known()
    context.check_model(served, model)
    return _model(context, served)


def _model(context: Context, served: ServedModel) -> Model:
    return Model(
        id=served.name,
        object="model",
        created=served.since,
        owned_by="marlinscribe",
        aliases=list(context.settings.model_aliases),
        marlinscribe=served.facts,
    )
