"""vLLM's Whisper, with an encoder that is as long as the sound it is given.

vLLM pads every recording to 30 s and reserves 1500 encoder positions for it. Here the samples'
own length decides both, so that whoever asks says how much silence the encoder hears behind a
window. Positions in the cross-attention are the request's own in vLLM already.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from vllm.model_executor.models.registry import ModelRegistry
from vllm.model_executor.models.whisper import (
    WhisperDummyInputsBuilder,
    WhisperForConditionalGeneration,
    WhisperMultiModalProcessor,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import PromptReplacement, PromptUpdate
from vllm.platforms import current_platform

from app.models.whisper_vllm.eight_bit_embedding import Named, in_eight_bits, shared
from app.models.whisper_vllm.embedding_format import ENTRY
from app.models.whisper_vllm.processing_info import FeaturesAlone

_FRAMES_A_POSITION = 2  # the stride of the encoder's second convolution


class ShortWhisperProcessor(WhisperMultiModalProcessor):  # type: ignore[misc]  # untyped
    """Computes the features of the samples that are there, and reserves their positions."""

    requires_tokenizer = False

    def _call_hf_processor(self, hf_data: Mapping[str, Any], hf_kwargs: Mapping[str, Any]) -> Any:
        """Return the log-mel features. The tokenizer, of which vLLM calls the padding too, is left
        out: not every checkpoint's can pad."""
        extract = self.info.get_feature_extractor()
        return extract(
            hf_data["audio"],
            sampling_rate=hf_kwargs["sampling_rate"],
            padding="longest",
            return_tensors="pt",
        )

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Any, out_mm_kwargs: Any
    ) -> Sequence[PromptUpdate]:
        def places(number: int) -> list[int]:
            features = out_mm_kwargs["audio"][number]["input_features"].data
            return [0] * positions_of(features)

        return [PromptReplacement(modality="audio", target=[0], replacement=places)]


@MULTIMODAL_REGISTRY.register_processor(
    ShortWhisperProcessor, info=FeaturesAlone, dummy_inputs=WhisperDummyInputsBuilder
)
class ShortWhisper(WhisperForConditionalGeneration):  # type: ignore[misc]  # untyped
    """Encodes windows of unequal length in one step, and has its embedding in eight bits where the
    checkpoint has."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:  # vLLM reads these names
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self._embeds_in_eight_bits = hasattr(self.config, ENTRY)
        if self._embeds_in_eight_bits:
            in_eight_bits(self)

    def load_weights(self, weights: Named) -> set[str]:
        """Load a checkpoint's tensors; return the names of those that were taken."""
        taken = weights if not self._embeds_in_eight_bits else shared(weights, self.proj_out)
        loaded: set[str] = super().load_weights(taken)
        return loaded

    def embed_multimodal(self, **kwargs: Any) -> list[torch.Tensor]:
        """Return each window's hidden states, shape (positions, width). Windows of one length are
        encoded together, on a processor no more of them than make a whole window."""
        # vLLM's own check of its inputs refuses unequal lengths.
        several = [features.to(self.dtype) for features in kwargs["input_features"]]
        same: dict[int, list[int]] = defaultdict(list)
        for number, features in enumerate(several):
            same[positions_of(features)].append(number)
        encoded: dict[int, torch.Tensor] = {}
        for positions, numbers in same.items():
            most = self._most_together(positions)
            for first in range(0, len(numbers), most):
                some = numbers[first : first + most]
                hidden = self.model.get_encoder_outputs([several[n] for n in some])
                encoded.update(zip(some, hidden, strict=True))
        return [encoded[number] for number in range(len(several))]

    def _most_together(self, positions: int) -> int:
        """Return how many windows of that length are encoded together."""
        if not current_platform.is_cpu():
            return sys.maxsize
        # What a layer computes of a whole window stays in the processor's cache, and in a block
        # that is kept for the next layer (keep_freed_memory). What it does of several, in neither.
        return max(1, int(self.config.max_source_positions) // positions)


def positions_of(features: torch.Tensor) -> int:
    """Return how many positions the encoder makes of features, shape (mels, frames)."""
    return -(-int(features.shape[-1]) // _FRAMES_A_POSITION)


def register() -> None:
    """Have vLLM take this class for Whisper's, in this process."""
    ModelRegistry.register_model("WhisperForConditionalGeneration", ShortWhisper)
