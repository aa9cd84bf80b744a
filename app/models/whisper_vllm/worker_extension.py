"""Questions asked inside the engine's worker. Imports nothing: vLLM mixes the class in."""

from collections import Counter
from typing import Any


class WorkerExtension:
    """Methods reached by `AsyncLLM.collective_rpc`."""

    model_runner: Any

    def linear_kernels(self) -> dict[str, int]:
        """Kernel class of each linear layer to how many layers it serves; unquantized ones
        are counted under their method's name."""
        kernels: Counter[str] = Counter()
        for module in self.model_runner.model.modules():
            scheme = getattr(module, "scheme", None)
            method = getattr(module, "quant_method", None)
            if scheme is not None:
                kernels[type(getattr(scheme, "kernel", scheme)).__name__] += 1
            elif method is not None and hasattr(module, "input_size"):
                kernels[type(method).__name__] += 1
        return dict(kernels)
