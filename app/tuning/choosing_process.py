"""The process that chooses.

python -m app.tuning.choosing_process < job.json
"""

import sys

from app.tuning.choice import NothingFits
from app.tuning.choosing import ANSWER, JOB, ChoiceAnswer
from app.tuning.tuning import tuned


def main() -> None:
    """Do the job on standard input; print the answer."""
    job = JOB.validate_json(sys.stdin.buffer.read())
    try:
        answer = ChoiceAnswer(tuned(job.wish, job.options, job.default))
    except NothingFits as error:
        answer = ChoiceAnswer(refused=(error.message, error.advice))
    sys.stdout.buffer.write(ANSWER.dump_json(answer))


if __name__ == "__main__":
    main()
