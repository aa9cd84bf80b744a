"""How vLLM is asked to run a Whisper."""

from collections.abc import Sequence
from pathlib import Path

from vllm.engine.arg_utils import AsyncEngineArgs

from app.models.whisper_vllm import short_whisper
from app.models.whisper_vllm.alignment_heads import Head
from app.models.whisper_vllm.attention_recorder import HEADS
from app.models.whisper_vllm.logits_processor import WhisperLogitsProcessor
from app.models.whisper_vllm.plan import EnginePlan
from app.models.whisper_vllm.tokens import SpecialTokens

_WORKER = "app.models.whisper_vllm.worker.WhisperWorker"  # imported where it runs


def engine_arguments(
    name: str,
    folder: Path,
    plan: EnginePlan,
    tokens: SpecialTokens,
    heads: Sequence[Head],
    *,
    is_observed: bool,
    linear_backend: str = "auto",
    traces_endpoint: str | None = None,
) -> AsyncEngineArgs:
    """Return vLLM's arguments for the checkpoint in `folder`. heads: those whose attention is
    recorded. is_observed: whether anybody reads its statistics and traces."""
    short_whisper.register()
    return AsyncEngineArgs(
        model=str(folder),
        served_model_name=name,
        dtype=plan.dtype,
        max_model_len=tokens.max_tokens,
        max_num_seqs=plan.windows,
        max_num_batched_tokens=plan.batched_tokens,
        kv_cache_memory_bytes=plan.kv_bytes,
        gpu_memory_utilization=plan.device_share,
        enforce_eager=plan.eager,
        linear_backend=linear_backend,
        otlp_traces_endpoint=traces_endpoint if is_observed else None,
        use_tqdm_on_load=False,
        disable_log_stats=not is_observed,
        limit_mm_per_prompt={"audio": 1},
        mm_processor_cache_gb=0,  # a recording comes once
        distributed_executor_backend="uni",
        logits_processors=[WhisperLogitsProcessor],
        worker_cls=_WORKER,
        additional_config={HEADS: [list(head) for head in heads]},
    )
