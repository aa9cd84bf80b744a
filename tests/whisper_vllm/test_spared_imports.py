"""What the fork server leaves out."""

import subprocess
import sys

ASKED = """
import importlib.util
from app.models.whisper_vllm.spared_imports import spare
spare()
assert importlib.util.find_spec("sklearn") is None  # as transformers asks
try:
    import scipy.signal  # as vLLM asks
except ImportError:
    print("spared")
"""


def test_spared_packages_count_as_not_installed_without_an_error_of_another_kind():
    told = subprocess.run([sys.executable, "-c", ASKED], check=True, capture_output=True, text=True)
    assert told.stdout == "spared\n"
