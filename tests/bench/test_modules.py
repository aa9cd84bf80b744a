"""Every benchmark can be imported without an engine, says what it does, and is made small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import bench
from tests.bench.test_smoke import APART, SMALL, STARTED_BY_OTHERS

MODULES = {
    path.stem: path.read_text("utf-8")
    for path in Path(bench.__file__).parent.glob("*.py")
    if path.stem != "__init__"
}
PROGRAMS = sorted(name for name, text in MODULES.items() if '__name__ == "__main__"' in text)
# In one process of its own, because torch and transformers come with some of them.
ASK_ALL = """
import contextlib, io, json, runpy, sys, traceback
sys.modules["vllm"] = sys.modules["llmcompressor"] = None
told = {}
for name in sys.argv[1:]:
    printed, sys.argv = io.StringIO(), [name, "--help"]
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_module(f"bench.{name}", run_name="__main__", alter_sys=True)
        told[name] = printed.getvalue()
    except SystemExit as ended:
        told[name] = printed.getvalue() if not ended.code else f"status {ended.code}"
    except BaseException:
        told[name] = traceback.format_exc()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    """What each prints when it is run with --help and without an engine."""
    run = subprocess.run(
        [sys.executable, "-c", ASK_ALL, *sorted(MODULES)],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_says_what_it_does(told, name):
    assert told[name].startswith("usage: "), told[name]


@pytest.mark.parametrize("name", sorted(MODULES.keys() - set(PROGRAMS)))
def test_a_module_for_others_prints_nothing_and_needs_no_engine(told, name):
    assert told[name] == ""


def test_every_program_has_a_small_run_or_a_reason_to_have_none():
    assert SMALL.keys() | STARTED_BY_OTHERS | APART == set(PROGRAMS)


@pytest.mark.parametrize("name", SMALL)
def test_the_options_of_a_small_run_are_its_own(told, name):
    options = {word for word in SMALL[name] if word.startswith("--")}
    assert all(option in told[name] for option in options)
