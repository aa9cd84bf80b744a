"""Quantization methods: a recipe as llm-compressor's modifiers, run over a model in memory."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from compressed_tensors.utils import patch_attr, update_offload_parameter
from llmcompressor import oneshot
from llmcompressor.modifiers import Modifier
from llmcompressor.modifiers.gptq import GPTQModifier, gptq_quantize
from llmcompressor.modifiers.gptq import base as gptq
from llmcompressor.modifiers.quantization import QuantizationModifier
from pydantic import PrivateAttr
from torch.utils.data import DataLoader

from app.checkpoints.fused_groups import layer_schemes
from app.checkpoints.recipe import Recipe, Scheme
from app.quantizer import eight_bit_embedding, emulation, groups
from app.quantizer.autoround import WhisperAutoRound
from app.quantizer.awq import whisper_awq
from app.quantizer.child_protocol import Reporter
from app.quantizer.features import Sample, batch
from app.quantizer.traceable import decoder_alone, encoded, traceable

AUTOROUND_STEPS = 200  # of tuning, for each layer: the paper's

_LAYERS = ["WhisperEncoderLayer", "WhisperDecoderLayer"]


@dataclass(frozen=True)
class Outcome:
    """What a method did.

    quantized: how many modules by scheme.
    losses: the method's own, by layer, where it has any.
    rounded: names of modules whose Hessian GPTQ could not invert, and which are rounded to nearest.
    embedding: in eight bits, where it is served so.
    """

    quantized: dict[Scheme, int]
    losses: dict[str, float]
    rounded: list[str]
    embedding: eight_bit_embedding.Table | None = None


class RememberingGPTQ(GPTQModifier):
    """GPTQ that keeps its losses, and the names of the modules that it could not quantize."""

    _losses: list[tuple[str, float]] = PrivateAttr(default_factory=list)
    _rounded: list[str] = PrivateAttr(default_factory=list)

    @property
    def losses(self) -> list[tuple[str, float]]:
        """The final error in each module's outputs, weighted by the Hessian."""
        return self._losses

    @property
    def rounded(self) -> list[str]:
        return self._rounded

    def compress_module_list(self, module_list: Any) -> None:
        names, losses = self._module_names, self._losses

        class KeepingLogger(gptq.CompressionLogger):
            def set_results(self, name: str, loss: float) -> None:
                losses.append((names[self.module], loss))
                super().set_results(name, loss)

        # The loss goes to the log alone.
        with (
            patch_attr(gptq, "CompressionLogger", KeepingLogger),
            patch_attr(gptq_quantize, "factorize_hessian", _factorized),
        ):
            super().compress_module_list(module_list)

    def on_finalize(self, *args: Any, **kwargs: Any) -> bool:
        self._rounded = list(self._rtn_fallback_module_names)  # super() clears it
        return bool(super().on_finalize(*args, **kwargs))


_factorize = gptq_quantize.factorize_hessian


def _factorized(
    weights: torch.Tensor, hessians: torch.Tensor, dampening: float, rounded: torch.Tensor
) -> torch.Tensor:
    """Factorize Hessians, shape (modules, columns, columns), in place; give up on those whose
    inverse has no factor either, as llm-compressor 0.14 does on those that have none themselves."""
    for one in range(len(hessians)):
        own = slice(one, one + 1)
        try:
            _factorize(weights[own], hessians[own], dampening, rounded[own])
        except torch.linalg.LinAlgError:
            hessians[one] = torch.eye(hessians.shape[-1])
            rounded[one] = True
    return hessians


class Watch(Modifier):
    """A modifier that comes last in a recipe and reports each layer once the others have finished
    it."""

    _method: Any = PrivateAttr()
    _report: Any = PrivateAttr()
    _layers: dict[Any, str] = PrivateAttr(default_factory=dict)
    _done: list[str] = PrivateAttr(default_factory=list)
    _losses: dict[str, float] = PrivateAttr(default_factory=dict)
    _before: int = PrivateAttr(default=0)
    _subgraphs: int = PrivateAttr(default=0)

    def over(self, method: Any, model: Any, report: Reporter, before: int = 0) -> "Watch":
        """`before` layers are done already."""
        self._method, self._report, self._before = method, report, before
        stacks = (("encoder", model.model.encoder), ("decoder", model.model.decoder))
        self._layers = {
            layer: f"{name}.{number}"
            for name, stack in stacks
            for number, layer in enumerate(stack.layers)
        }
        return self

    @property
    def subgraphs(self) -> int:
        return self._subgraphs

    @property
    def losses(self) -> dict[str, float]:
        return self._losses

    def _loss(self, layer: str) -> float | None:
        """The sum over the layer's modules."""
        stack, number = layer.split(".")
        within = f"{stack}.layers.{number}"
        losses = getattr(self._method, "losses", ())
        found = [loss for name, loss in losses if f"{within}." in f"{name}."]
        return sum(found) if found else None

    def on_initialize(self, state: Any, **kwargs: Any) -> bool:
        # A scale that is still this in the end was never found.
        for module in state.model.modules():
            if hasattr(module, "weight_scale"):
                unfound = torch.full_like(module.weight_scale, torch.nan)
                update_offload_parameter(module, "weight_scale", unfound)
        return True

    def on_sequential_epoch_end(self, state: Any, event: Any, modules: Any, **kwargs: Any) -> None:
        self._subgraphs += 1
        for layer in (self._layers[module] for module in modules if module in self._layers):
            self._done.append(layer)
            loss = self._loss(layer)
            if loss is not None:
                self._losses[layer] = loss
            done = self._before + len(self._done)
            self._report.progress(done, len(self._layers), loss=loss, layer=layer)


def apply(
    model: Any,
    recipe: Recipe,
    samples: list[Sample],
    processor: Any,
    report: Reporter,
    *,
    propagate: bool = True,
    steps: int = AUTOROUND_STEPS,
) -> Outcome:
    """Quantize `model` in place; calibrated methods learn from `samples`. The recipe must fit the
    model (see schemes.py). propagate: whether a layer hears what quantized layers before it give,
    where the method leaves that open; steps: AutoRound's, for each layer."""
    linears = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    wanted = groups.wanted(recipe, model.config.to_dict(), linears)
    counted = Counter(wanted.values())
    embedding, table = recipe.component_schemes["embedding"], None
    if embedding.scheme != "none":  # before the rest, which then is calibrated on what it gives
        counted[embedding.scheme] += 1
        if recipe.emulate:
            emulation.round_embedding(model, groups.weights_of(embedding, recipe))
        else:
            table = eight_bit_embedding.rounded_table(model, getattr(torch, recipe.dtype))
    if not wanted:
        return Outcome(dict(counted), {}, [], table)
    method, watch = _run(model, recipe, samples, processor, report, propagate, steps)
    unlike = wanted.keys() ^ {name for name, module in linears.items() if _scaled(module)}
    assert not unlike, f"never calibrated, or without being asked: {sorted(unlike)[:5]}"
    return Outcome(dict(counted), watch.losses, getattr(method, "rounded", []), table)


def _run(
    model: Any,
    recipe: Recipe,
    samples: list[Sample],
    processor: Any,
    report: Reporter,
    propagate: bool,
    steps: int,
) -> tuple[Any, Watch]:
    """Run the method; return its modifier, and the one that watched it."""
    config = model.config.to_dict()
    together, later = _modifiers(recipe, config, steps)
    method = together[0]
    layers = model.config.encoder_layers + model.config.decoder_layers
    encoded_before = model.config.encoder_layers if _learns_decoder_alone(recipe, config) else 0
    watch = Watch().over(method, model, report, encoded_before)
    together.append(watch)
    if recipe.method == "rtn":
        oneshot(model=model, recipe=together, pipeline="datafree")
    elif encoded_before:
        clips = _encoded(model, samples, report)
        with decoder_alone(model):
            calibrate(model, together, clips, processor, propagate)
    else:
        heard = propagate and recipe.method != "autoround"
        with traceable(model, batch(samples[:1])):
            calibrate(model, together, samples, processor, heard)
    if recipe.method != "rtn":
        # A tracer that swallowed layers would calibrate them on unquantized inputs, or not at all.
        expected = layers - encoded_before + 1
        assert watch.subgraphs == expected, f"{watch.subgraphs} subgraphs, not {expected}"
    if later:
        oneshot(model=model, recipe=later, pipeline="datafree")
    return method, watch


def calibrate(
    model: Any, modifiers: list[Any], samples: list[Sample], processor: Any, propagate: bool = True
) -> None:
    """Run modifiers layer by layer, which keeps memory low. GPTQ's layers hear what quantized
    layers before them give. AutoRound sees to that itself, within a stack; AWQ rounds no weights
    before the end."""
    oneshot(
        model=model,
        processor=processor,
        dataset=DataLoader(samples, batch_size=1, collate_fn=batch),
        recipe=modifiers,
        pipeline="sequential",
        sequential_targets=_LAYERS,
        num_calibration_samples=len(samples),
        propagate_error=propagate,
    )


def _learns_decoder_alone(recipe: Recipe, config: groups.Config) -> bool:
    """Return whether nothing of the encoder is learned: it then runs once a clip, instead of twice
    a clip and layer."""
    schemes = layer_schemes(recipe, config)
    learned = [group for group, one in schemes.items() if one.scheme not in ("none", "W8A8")]
    decoders = all(group.startswith("decoder.") for group in learned)
    return recipe.method == "gptq" and bool(learned) and decoders


def _encoded(model: Any, samples: list[Sample], report: Reporter) -> list[Sample]:
    """Encode the clips; the encoder's layers count as done by and by."""
    layers = model.config.encoder_layers
    made: list[Sample] = []
    done = 0
    for clip in encoded(model, samples):
        made.append(clip)
        before, done = done, layers * len(made) // len(samples)
        if done > before:
            report.progress(done, layers + model.config.decoder_layers)
    return made


def _scaled(module: Any) -> bool:
    return hasattr(module, "weight_scale") and not module.weight_scale.isnan().any()


def _modifiers(recipe: Recipe, config: groups.Config, steps: int) -> tuple[list[Any], list[Any]]:
    """Return the modifiers that run together, the method's first, and those that run after them."""
    found, ignored = groups.config_groups(recipe, config), groups.ignored(recipe, config)
    what: dict[str, Any] = {"config_groups": found, "ignore": ignored}
    match recipe.method:
        case "gptq":
            order = None if recipe.act_order == "none" else recipe.act_order
            eight, fewer = _apart(found)
            gptq = {"dampening_frac": recipe.dampening, "actorder": order, "ignore": ignored}
            learned = [RememberingGPTQ(config_groups=fewer, **gptq)]
            # Not beside GPTQ: a QuantizationModifier looks for scales anew in all that it sees.
            rounded = [QuantizationModifier(config_groups=eight, ignore=ignored)] if eight else []
            return learned, rounded
        case "awq":
            return [whisper_awq(), QuantizationModifier(**what)], []
        case "autoround":
            # torch.compile needs a C compiler where the service runs.
            return [WhisperAutoRound(iters=steps, enable_torch_compile=False, **what)], []
        case "rtn":
            return [QuantizationModifier(**what)], []


def _apart(found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part config groups of eight bits from those of fewer, which GPTQ learns: eight lose next to
    nothing by rounding, and an encoder's Hessians are most of what GPTQ computes. Where there are
    none of fewer, it learns all."""
    eight = {name: group for name, group in found.items() if "input_activations" in group}
    fewer = {name: group for name, group in found.items() if name not in eight}
    return (eight, fewer) if fewer else ({}, found)
