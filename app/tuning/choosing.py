"""The choice in a process of its own, so that what solves integer programs does not stay in the
memory of whoever serves."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from app.errors import BadRecipe
from app.tuning.options import Options
from app.tuning.wish import Tuning, Wish

_MOST_SECONDS = 600
_PROJECT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class ChoiceJob:
    """What the process is given: tuned()'s arguments."""

    wish: Wish
    options: Options
    default: Mapping[str, str]


@dataclass(frozen=True)
class ChoiceAnswer:
    """What the process answers: a choice, or why there is none and what can be done."""

    tuning: Tuning | None = None
    refused: tuple[str, str] | None = None


JOB = TypeAdapter(ChoiceJob)
ANSWER = TypeAdapter(ChoiceAnswer)


def tuned_apart(wish: Wish, options: Options, default: Mapping[str, str]) -> Tuning:
    """Choose as tuned() does. Blocking, for seconds. Raises BadRecipe where nothing fits."""
    told = subprocess.run(
        [sys.executable, "-m", "app.tuning.choosing_process"],
        input=JOB.dump_json(ChoiceJob(wish, options, default)),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(_PROJECT)},
        check=True,
        timeout=_MOST_SECONDS,
    ).stdout
    answer = ANSWER.validate_json(told)
    if answer.tuning is None:
        assert answer.refused is not None, "one of the two is told"
        raise BadRecipe(*answer.refused)
    return answer.tuning
