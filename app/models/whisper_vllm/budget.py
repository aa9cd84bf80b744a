"""The memory budget of a device: the one calculation behind every engine, preset and printed plan.

What weights, keys and values take is arithmetic. What CUDA, its graphs and the encoder's
activations take is an estimate: no card has been measured.
"""

from dataclasses import dataclass

from app.errors import EngineFailed
from app.models.base import Device, Footprint
from app.models.whisper_vllm.shape import BLOCK, ModelShape

MIB, GIB = 1024**2, 1024**3

# Estimates. Behind them: vLLM's logs of other models on consumer cards, which people have
# published, tell of 0.2 to 0.33 GiB outside PyTorch beside the context, and of 0.1 to 0.36 GiB
# for graphs of more and larger batches than ours.
CONTEXT = GIB // 2  # the CUDA context, the kernels it loads, cuBLAS's workspaces
GRAPHS = GIB // 10
# Of a card as sold: 8 GB cards tell PyTorch of 7.5 to 7.9 GiB in published error messages.
DRIVER = 4 * GIB // 10
DISPLAY = GIB // 2  # and what the estimates miss
# Of a machine as sold: the system, and this service's processes without their engine's memory.
SYSTEM = 3 * GIB // 2

# Tensors of a window's tokens by d_model that the encoder holds at once, 16 bits each. Ten are
# plain to see (residual, norm, fc1's four and GELU's four); the rest is for attention, the
# convolutions, the decoder's first step and what the allocator rounds up.
_ACTIVATIONS = 28
_SPARE_BLOCKS = 2  # beside the windows' own: vLLM keeps a null block in each of its two pools


@dataclass(frozen=True)
class Memory:
    """Memory of a card or a machine, in bytes. `free` is what an engine may take."""

    total: int
    free: int

    @classmethod
    def of_a_card(cls, gigabytes: float) -> "Memory":
        """Return the memory of a card sold as so many GB, which are GiB, less the driver's and a
        display's."""
        total = int(gigabytes * GIB)
        return cls(total, max(0, total - DRIVER - DISPLAY))

    @classmethod
    def of_a_machine(cls, gigabytes: float) -> "Memory":
        """Return the memory of a machine with so many GiB of RAM, less the system's."""
        total = int(gigabytes * GIB)
        return cls(total, max(0, total - SYSTEM))


@dataclass(frozen=True)
class Limits:
    """The most windows that are decoded at once, and that the encoder takes in one step."""

    windows: int
    at_once: int


LIMITS: dict[Device, Limits] = {"cuda": Limits(32, 6), "cpu": Limits(32, 4)}


@dataclass(frozen=True)
class Budget:
    """A budget lists where a device's memory goes, in bytes; together the lines are `total`.

    taken: what others have of the memory: the driver, a display, other programs.
    kept: what is left to other work on purpose. On a CPU the engine's own needs come out of it.
    context, graphs: estimates; see the module's constants.
    weights: once loaded.
    encoding: activations of the `at_once` windows that the encoder takes in one step; estimated.
    window: keys and values of one window.
    kv: keys and values, for `windows` at once of the `fits` that there is room for.
    outside: what of `kv` lies outside vLLM's pool.
    left: what nobody has; negative where the operator asked for more than there is.
    """

    device: Device
    total: int
    free: int
    kept: int
    context: int
    graphs: int
    weights: int
    encoding: int
    window: int
    kv: int
    outside: int
    fits: int
    windows: int
    at_once: int

    @property
    def taken(self) -> int:
        return self.total - self.free

    @property
    def left(self) -> int:
        ours = self.context + self.graphs + self.weights + self.encoding + self.kv
        return self.free - self.kept - ours


KEPT_ON_CPU = 0.5  # of what is free: the machine has other work, and audio needs memory too


def footprint_of(shape: ModelShape, device: Device) -> Footprint:
    """What a model needs for one window at once."""
    card = device == "cuda"
    spare = _SPARE_BLOCKS * BLOCK * shape.kv_bytes_a_token
    return Footprint(
        weights=shape.weight_bytes,
        overhead=spare + (CONTEXT + GRAPHS if card else 0),
        window=shape.window_bytes(device) + (_activations(shape) if card else 0),
    )


def budget_of(
    shape: ModelShape,
    device: Device,
    memory: Memory,
    *,
    windows: int | None = None,
    kv_bytes: int | None = None,
) -> Budget:
    """Compute what fits into `memory`. The operator's `windows` and `kv_bytes` take precedence,
    though no more windows are taken than fit.

    Raises EngineFailed where not one window fits.
    """
    limits, card = LIMITS[device], device == "cuda"
    kept = 0 if card else int(memory.free * KEPT_ON_CPU)
    context, graphs = (CONTEXT, GRAPHS) if card else (0, 0)
    activations = _activations(shape) if card else 0
    window, spare = shape.window_bytes(device), _SPARE_BLOCKS * BLOCK * shape.kv_bytes_a_token
    room = memory.free - kept - context - graphs - shape.weight_bytes - spare
    if kv_bytes is None:
        fits = _fitting(room, window, activations, limits.at_once)
    else:
        fits = _held(kv_bytes, window, spare)
    if fits < 1:
        raise EngineFailed(
            f"One window needs {window / MIB:.0f} MiB for keys and values"
            + (f" and {activations / MIB:.0f} MiB in the encoder; " if card else "; ")
            + f"{max(0, room) / MIB:.0f} MiB are left beside the weights.",
            "Free memory, or take a smaller checkpoint.",
        )
    windows = min(windows or limits.windows, fits)
    at_once = min(windows, limits.at_once)
    return Budget(
        device=device,
        total=memory.total,
        free=memory.free,
        kept=kept,
        context=context,
        graphs=graphs,
        weights=shape.weight_bytes,
        encoding=at_once * activations,
        window=window,
        kv=kv_bytes or windows * window + spare,
        outside=0 if card else windows * shape.cross_bytes(device),
        fits=fits,
        windows=windows,
        at_once=at_once,
    )


def _activations(shape: ModelShape) -> int:
    """Estimate the activations of one window in the encoder, in bytes."""
    return _ACTIVATIONS * shape.encoder_positions * shape.d_model * 2


def _fitting(room: int, window: int, activations: int, at_once: int) -> int:
    """Return how many windows `room` bytes hold. Only the first `at_once` cost activations: the
    windows after them reuse that memory."""
    few = room // (window + activations)
    return few if few < at_once else (room - at_once * activations) // window


def _held(kv_bytes: int, window: int, spare: int) -> int:
    """Return how many windows the operator's own pool holds.

    Raises EngineFailed where vLLM would not start with the pool: beside a longest text vLLM asks
    for as much cross-attention as the encoder may write in one step, which is a little over a
    window's.
    """
    if kv_bytes < window + spare:
        raise EngineFailed(
            f"MARLINSCRIBE_KV_CACHE_BYTES is {kv_bytes}; one window takes {window + spare}.",
            "Set it higher, or leave it unset: it is computed then.",
        )
    return kv_bytes // window
