"""Where the quantizer's process begins: it ties its life to the server's, then loads the rest.

    python -m app.checkpoints.child EVENTS PARENT WORK NICENESS < job.json

EVENTS is the descriptor it reports to, PARENT the pid it dies with, WORK a module beside this one
whose `main(EVENTS)` does the job: quantizer or comparison. NICENESS is as `nice` has it.
"""

import os
import sys
from importlib import import_module

from app.process import die_with

if __name__ == "__main__":
    die_with(int(sys.argv[2]))
    os.nice(int(sys.argv[4]))

    # Seconds of imports, during which a server may die.
    work = import_module(f"app.checkpoints.{sys.argv[3]}")
    raise SystemExit(work.main(int(sys.argv[1])))
