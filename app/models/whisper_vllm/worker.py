"""The engine's worker: vLLM's, which also tells which kernels it runs, and what the alignment heads
attend to."""

from collections import Counter
from typing import Any

import torch
from vllm.platforms import current_platform

from app.models.whisper_vllm import short_whisper
from app.models.whisper_vllm.attention_recorder import HEADS, AttentionRecorder
from app.models.whisper_vllm.direct_step import take_direct_steps
from app.models.whisper_vllm.plan import IN_EIGHT_BITS
from app.models.whisper_vllm.sampled_logprobs import tell_sampled_alone
from app.process import forget_zeros

short_whisper.register()  # before the engine looks for its model's class


def _vllm_worker() -> Any:
    """Return the class of vLLM's own worker for this device."""
    if current_platform.is_cpu():
        from vllm.v1.worker.cpu_worker import CPUWorker

        return CPUWorker
    from vllm.v1.worker.gpu_worker import Worker

    return Worker


class WhisperWorker(_vllm_worker()):  # type: ignore[misc]  # the device decides
    """Runs a Whisper. `AsyncLLM.collective_rpc` calls its methods."""

    def load_model(self, **named: Any) -> None:
        """Load the model, and record its alignment heads from then on: before anything is compiled
        or captured."""
        super().load_model(**named)
        config = self.vllm_config
        self._cross_attention: Any = None
        if config.additional_config[IN_EIGHT_BITS]:
            # Here, for when vLLM sets a worker up it looks into all modules that are imported, and
            # llvmlite's library takes each name for a function of its own.
            from app.models.whisper_vllm.cross_attention import CrossAttention
            from app.models.whisper_vllm.encoder_vectors import gains

            self._cross_attention = CrossAttention(self.model_runner)
            if gains() and config.model_config.dtype == torch.bfloat16:
                from app.models.whisper_vllm.encoder_attention import compare_in_eight_bits

                compare_in_eight_bits(self.model_runner.model.model.encoder)
        if current_platform.is_cpu() and config.model_config.enforce_eager:
            take_direct_steps(self.model_runner.model.model.decoder)
        tell_sampled_alone(self.model_runner.sampler)
        self._recorder = AttentionRecorder(
            self.model_runner.model,
            config.additional_config[HEADS],
            rows=config.scheduler_config.max_num_batched_tokens,
            windows=config.scheduler_config.max_num_seqs,
        )

    def initialize_from_config(self, kv_cache_config: Any) -> None:
        """Make room for keys and values; on a processor it takes memory as it is written: few
        windows have as much text as they have room for."""
        super().initialize_from_config(kv_cache_config)
        if current_platform.is_cpu():
            for room in {one.untyped_storage() for one in self.model_runner.kv_caches}:
                forget_zeros(room.data_ptr(), room.nbytes())

    def execute_model(self, scheduler_output: Any) -> Any:
        """Run a step, and keep what is to be recorded of it."""
        if self._cross_attention:
            again = scheduler_output.preempted_req_ids or set()
            self._cross_attention.forget(scheduler_output.finished_req_ids | again)
        self._recorder.before_step(scheduler_output)
        output = super().execute_model(scheduler_output)
        runner = self.model_runner
        self._recorder.after_step(runner.input_batch, scheduler_output, runner.requests)
        return output

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Sample a step's tokens. Whoever has its first has no candidates weighed from then on:
        language and silence are asked of that one alone (`vllm_windows.step_of`), and a hundred
        languages take a twentieth of a lone window's step."""
        output = super().sample_tokens(grammar_output)
        batch = self.model_runner.input_batch
        for asked in (batch.logprob_token_ids, batch.sampling_metadata.logprob_token_ids or {}):
            for one in asked:
                asked[one] = []
        return output

    def take_attention(
        self, name: str, first: int, count: int, frames: int
    ) -> dict[str, Any] | None:
        """See AttentionRecorder.take."""
        return self._recorder.take(name, first, count, frames)

    def linear_kernels(self) -> dict[str, int]:
        """Count the linear layers by kernel class, and layers that attend by one of our own;
        unquantized ones count under their method's name."""
        kernels: Counter[str] = Counter()
        for module in self.model_runner.model.modules():
            scheme = getattr(module, "scheme", None)
            method = getattr(module, "quant_method", None)
            if scheme is not None:
                kernels[type(getattr(scheme, "kernel", scheme)).__name__] += 1
            elif method is not None and hasattr(module, "input_size"):
                kernels[type(method).__name__] += 1
            elif getattr(module, "is_kernel", False):
                kernels[type(module).__name__] += 1
        return dict(kernels)
