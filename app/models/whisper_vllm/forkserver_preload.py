"""Importing this module, the forkserver's first, ties the forkserver's life to the server's, and
spares it what an engine has no use for.

A server killed with -9 takes the forkserver with it, and the forkserver the engine, so that none
outlives the server and keeps its memory. A process group of their own keeps a terminal's ^C for the
server, which ends them in order.
"""

import gc
import os
import warnings
from functools import partial

from app.models.whisper_vllm import spared_imports
from app.models.whisper_vllm.forkserver import SERVER_PID
from app.process import die_with

warnings.simplefilter("ignore", FutureWarning)  # vLLM's imports touch deprecated names
os.setpgid(0, 0)
die_with(int(os.environ[SERVER_PID]))
os.register_at_fork(after_in_child=partial(die_with, os.getpid()))
gc.disable()  # until forkserver_ready: imports leave little to collect, and much to look through
spared_imports.spare()
