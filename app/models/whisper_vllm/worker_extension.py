"""Methods that are called inside the engine's worker. The module imports nothing: vLLM mixes the
class in."""

from collections import Counter
from typing import Any


class WorkerExtension:
    """Holds the methods that `AsyncLLM.collective_rpc` calls."""

    model_runner: Any

    def linear_kernels(self) -> dict[str, int]:
        """Count the linear layers by kernel class; unquantized ones count under their method's
        name."""
        kernels: Counter[str] = Counter()
        for module in self.model_runner.model.modules():
            scheme = getattr(module, "scheme", None)
            method = getattr(module, "quant_method", None)
            if scheme is not None:
                kernels[type(getattr(scheme, "kernel", scheme)).__name__] += 1
            elif method is not None and hasattr(module, "input_size"):
                kernels[type(method).__name__] += 1
        return dict(kernels)
