"""GET /v1/models: what is served, and where it came from."""

from typing import Any

from fastapi import APIRouter

from app.api.context import Ctx

router = APIRouter(prefix="/v1", tags=["models"])


@router.get("/models")
async def models(context: Ctx) -> dict[str, Any]:
    """OpenAI's list, one model long; `marlinscribe` holds scheme, kernels, bytes, provenance."""
    served = context.ready()
    model = {
        "id": served.name,
        "object": "model",
        "created": served.since,
        "owned_by": "marlinscribe",
        "aliases": list(context.settings.model_aliases),
        "marlinscribe": served.facts,
    }
    return {"object": "list", "data": [model]}
