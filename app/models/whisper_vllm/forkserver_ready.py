"""Importing this module, the forkserver's last, has as little as possible of what was imported
written to by an engine: a written page is shared no more.

The garbage collector would write to every object, and leaves them alone. On a processor vLLM puts
functions into the place of Triton's kernels, for which it looks at everything in every module, and
thereby counts and writes to it (vllm/triton_utils/dispatcher.py): it does so here, and no engine
does again.
"""

import gc

from vllm.platforms import current_platform

if current_platform.is_cpu():
    current_platform.register_triton_kernel_overrides()
    type(current_platform).register_triton_kernel_overrides = classmethod(lambda _: None)
gc.freeze()
gc.enable()
