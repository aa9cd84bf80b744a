"""/health/live, /health/ready and /metrics, which need no key."""

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from app.api.context import Ctx

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "live"}


@router.get("/health/ready", responses={503: {"description": "Not ready; its body says why"}})
async def ready(context: Ctx) -> JSONResponse:
    """200 when transcriptions are answered, by an idle engine too; otherwise 503 with the stage and
    its progress. Of several models each has to answer, and `models` tells of each."""
    status = context.state.status()
    body = status.body()
    if len(context.state.slots) > 1:
        body["models"] = {name: slot.status().body() for name, slot in context.state.slots.items()}
    if status.answers:
        return JSONResponse(body)
    return JSONResponse(body, 503, {"retry-after": str(status.retry_after)})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(context: Ctx) -> Response:
    """Prometheus text: marlinscribe_* and vLLM's vllm:*."""
    return Response(context.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
