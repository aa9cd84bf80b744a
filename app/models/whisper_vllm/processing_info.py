"""What vLLM asks of a checkpoint to compute a window's features, answered without a tokenizer.

vLLM takes the feature extractor out of transformers' processor, and loads that with its tokenizer
three times: seconds of an engine's start, and memory. What comes here is tokens already.
"""

from functools import cache
from typing import Any

from vllm.model_executor.models import whisper


class FeaturesAlone(whisper.WhisperProcessingInfo):  # type: ignore[misc]  # untyped
    """Gives a checkpoint's feature extractor by itself."""

    def get_feature_extractor(self, **kwargs: object) -> Any:
        return _feature_extractor(self.model_id)

    def get_tokenizer(self) -> Any:
        """There is none; vLLM asks before it sees that a prompt is tokens."""
        return None


@cache
def _feature_extractor(folder: str) -> Any:
    return whisper.WhisperFeatureExtractor.from_pretrained(folder)
