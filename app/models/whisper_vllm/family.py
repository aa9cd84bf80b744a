"""Whisper and its fine-tunes (Breeze-ASR, Distil-Whisper) as a model family, served by vLLM."""

from pathlib import Path

from app.models.base import Device, Footprint, LoadedModel, LoadOptions
from app.models.whisper_vllm import forkserver
from app.models.whisper_vllm.alignment_heads import AlignmentHeads
from app.models.whisper_vllm.budget import footprint_of
from app.models.whisper_vllm.decoder import WhisperDecoder
from app.models.whisper_vllm.encoder_length import EncoderLengths
from app.models.whisper_vllm.engine import VllmEngine
from app.models.whisper_vllm.plan import plan_engine, shape_on
from app.models.whisper_vllm.text import TextCodec
from app.models.whisper_vllm.tokens import SpecialTokens


class WhisperFamily:
    """Implements app.models.base.Family."""

    def prepare(self, device: Device, log_level: str) -> None:
        """Start the fork server that engines are forked from."""
        forkserver.start(device, forkserver.environment(device, log_level))

    def footprint(self, folder: Path, device: Device) -> Footprint:
        """What a Whisper needs, by its shape. Raises BadSource."""
        return footprint_of(shape_on(folder, device), device)

    def start(self, name: str, folder: Path, device: Device, options: LoadOptions) -> LoadedModel:
        """Start vLLM over a checkpoint; `name` is what its metrics call it. Blocking. Raises
        BadSource, EngineFailed."""
        tokens, shape = SpecialTokens.load(folder), shape_on(folder, device)
        heads = AlignmentHeads.of(folder)
        lengths = EncoderLengths.of(folder, options.short_encoder, options.known_as)
        plan = plan_engine(shape, device, windows=options.windows, kv_bytes=options.kv_bytes,
                           memory_bytes=options.memory_bytes)  # fmt: skip
        engine = VllmEngine.start(
            name,
            folder,
            plan,
            tokens,
            options.metrics,
            heads.heads,
            linear_backend=options.linear_backend,
            traces_endpoint=options.traces_endpoint,
        )
        decoder = WhisperDecoder(
            engine, tokens, TextCodec(folder, tokens), heads.lags, options.metrics, lengths
        )
        footprint = shape.weight_bytes + plan.kv_bytes
        facts = {
            "alignment": heads.facts,
            "encoder": lengths.facts,
            "cross_attention": {"bits": plan.cross_attention_bits},
        }
        return LoadedModel(decoder, engine, plan.windows, footprint, facts)
