"""Detection of a stuck engine, which is then killed."""

import asyncio
import logging

from app.models.base import Engine
from app.process import in_daemon_thread

log = logging.getLogger(__name__)

_LOOKS = 10  # in the time that an engine may be silent
_LONGEST_BETWEEN = 1.0  # seconds, between two looks


async def end_if_stuck(engine: Engine, seconds: float) -> bool:
    """Watch an engine until it is dead; kill it once it has had a window for so long and no token
    for any. Whether it came to that.

    Time is counted in looks, so that a service that was stopped itself (a paused container) does
    not take its own absence for its engine's silence. An idle engine may be silent. Clients that
    leave one by one before their first token hide a stuck engine, or are only impatient with a slow
    one: the engine is asked something else then.
    """
    between = min(_LONGEST_BETWEEN, seconds / _LOOKS)
    heard, oldest = engine.outputs, engine.oldest
    silent = same = 0.0  # since any token; since the oldest window came
    while engine.alive:
        await asyncio.sleep(between)
        if engine.outputs != heard:
            heard, silent, same = engine.outputs, 0.0, 0.0
        elif engine.windows:
            silent += between
            same = same + between if engine.oldest == oldest else 0.0
        oldest = engine.oldest
        stuck = same >= seconds
        if silent >= seconds and not stuck:
            stuck, silent = not await engine.answers(seconds), 0.0
        if stuck:
            log.error(
                "the engine has %d windows and gave no token for %g s: it is stuck, and killed",
                engine.windows,
                seconds,
            )
            engine.stalled = True
            await in_daemon_thread(engine.kill)
            return True
    return False
