"""How vLLM is asked to run a Whisper."""

from vllm.engine.arg_utils import EngineArgs

from app.models.whisper_vllm import short_whisper
from app.models.whisper_vllm.attention_recorder import HEADS
from app.models.whisper_vllm.logits_processor import WhisperLogitsProcessor
from app.models.whisper_vllm.messages import EngineStart
from app.models.whisper_vllm.plan import IN_EIGHT_BITS

_WORKER = "app.models.whisper_vllm.worker.WhisperWorker"  # imported where it runs


def engine_arguments(start: EngineStart) -> EngineArgs:
    """Return vLLM's arguments for a checkpoint."""
    short_whisper.register()
    plan = start.plan
    return EngineArgs(
        model=str(start.folder),
        served_model_name=start.name,
        dtype=plan.dtype,
        max_model_len=start.tokens.max_tokens,
        max_num_seqs=plan.windows,
        max_num_batched_tokens=plan.batched_tokens,
        kv_cache_memory_bytes=plan.pool_bytes,
        gpu_memory_utilization=plan.device_share,
        enforce_eager=plan.eager,
        linear_backend=start.linear_backend,
        otlp_traces_endpoint=start.traces_endpoint if start.is_observed else None,
        use_tqdm_on_load=False,
        disable_log_stats=not start.is_observed,
        skip_tokenizer_init=True,  # what comes is tokens, and what goes
        limit_mm_per_prompt={"audio": 1},
        mm_processor_cache_gb=0,  # a recording comes once
        distributed_executor_backend="uni",
        logits_processors=[WhisperLogitsProcessor],
        worker_cls=_WORKER,
        additional_config={
            HEADS: [list(head) for head in start.heads],
            IN_EIGHT_BITS: plan.in_eight_bits,
        },
    )
