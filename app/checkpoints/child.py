"""Where the quantizer's process begins: it ties its life to the server's, then loads the rest.

    python -m app.checkpoints.child EVENTS PARENT < job.json

EVENTS is the descriptor it reports to, PARENT the pid it dies with.
"""

import sys

from app.process import die_with

if __name__ == "__main__":
    die_with(int(sys.argv[2]))

    from app.checkpoints.quantizer import main  # seconds of imports, during which a server may die

    raise SystemExit(main(int(sys.argv[1])))
