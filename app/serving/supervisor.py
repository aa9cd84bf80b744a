"""Looking after the engine that serves: started again when it dies, put away while nobody wants it.

One task does both, so that no two starts meet; exchanges and jobs have the host's lock.
"""

import asyncio
from contextlib import suppress

from app.serving.lifecycle import Stage
from app.serving.manager import EngineManager

_BETWEEN = 0.5  # seconds, between two looks: vLLM has no event for its engine's death


async def watch(host: EngineManager, between: float = _BETWEEN) -> None:
    """Raises EngineFailed when nothing serves and nothing will."""
    while True:
        wanted = host.wanted.is_set()
        host.wanted.clear()
        match host.stage:
            case Stage.READY if not host.alive:
                host.lose()
            case Stage.READY if host.unused:
                await host.unload_idle()
            case Stage.RESTARTING if host.restarts.due:
                await host.start_again()
            case Stage.IDLE if wanted:
                await host.start_again()
        if host.fatal_error:
            raise host.fatal_error
        with suppress(TimeoutError):
            await asyncio.wait_for(host.wanted.wait(), between)
