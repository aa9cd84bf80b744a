"""A device is known by all that decides how long a layer takes on it."""

import pytest

from app.checkpoints.device import described, device_facts, fingerprint


@pytest.fixture
def known(monkeypatch):
    """Facts of this device, with variables of the environment set as told."""

    def known(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return device_facts("cpu", "bfloat16")

    for name in ("OMP_NUM_THREADS", "VLLM_CPU_INT4_W4A8", "VLLM_MARLIN_INPUT_DTYPE"):
        monkeypatch.delenv(name, raising=False)
    return known


def test_the_same_device_has_the_same_fingerprint(known):
    assert fingerprint(known()) == fingerprint(known())


def test_what_an_engine_sets_for_itself_changes_nothing(known):
    before = fingerprint(known())
    assert fingerprint(known(VLLM_CPU_INT4_W4A8="0")) == before


@pytest.mark.parametrize("variables", [{"OMP_NUM_THREADS": "61"}, {"VLLM_CPU_INT4_W4A8": "1"}])
def test_threads_and_kernels_make_another_device(known, variables):
    assert fingerprint(known()) != fingerprint(known(**variables))


def test_another_dtype_makes_other_times(known):
    known()
    float16 = device_facts("cpu", "float16")
    assert fingerprint(float16) != fingerprint(device_facts("cpu", "bfloat16"))


def test_people_are_told_processor_threads_and_versions(known):
    told = described(known(OMP_NUM_THREADS="3"))
    assert "3 threads" in told
    assert "torch " in told
