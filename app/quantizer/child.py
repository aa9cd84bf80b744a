"""The entry of the quantizer's process: it ties its life to the server's, then loads the rest.

    python -m app.quantizer.child EVENTS PARENT WORK SHARE < job.json

EVENTS: the descriptor that the process reports to. PARENT: the pid that it dies with. WORK: a
module beside this one whose `main(EVENTS)` does the job: make, comparison or sensitivity. SHARE: of
the processors, its `own`, or the `rest` that nobody else wants.
"""

import os
import sys
from importlib import import_module

from app.process import die_with, set_idle_priority

if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    if sys.argv[4] == "rest":
        set_idle_priority(os.getpid())

    # Seconds of imports, during which a server may die.
    work = import_module(f"app.quantizer.{sys.argv[3]}")
    raise SystemExit(work.main(int(sys.argv[1])))
