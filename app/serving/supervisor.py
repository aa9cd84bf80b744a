"""Supervision of one slot's engine: started again when it dies, unloaded while nobody wants it.

One task does both, so that no two starts meet; exchanges and jobs have the manager's lock.
"""

import asyncio
from contextlib import suppress

from app.serving.lifecycle import Stage
from app.serving.manager import EngineManager

_BETWEEN = 0.5  # seconds, between two looks: vLLM has no event for its engine's death


async def supervise(manager: EngineManager, between: float = _BETWEEN) -> None:
    """Start an engine again when it dies, unload it while nobody wants it. Raises EngineFailed when
    nothing serves and nothing will."""
    while True:
        wanted = manager.wanted.is_set()
        manager.wanted.clear()
        match manager.stage:
            case Stage.READY if not manager.alive:
                manager.on_engine_death()
            case Stage.READY if manager.unused:
                await manager.unload_idle()
            case Stage.RESTARTING if manager.restarts.due:
                await manager.start_again()
            case Stage.IDLE if wanted:
                await manager.start_again()
        if manager.fatal_error:
            raise manager.fatal_error
        with suppress(TimeoutError):
            await asyncio.wait_for(manager.wanted.wait(), between)
