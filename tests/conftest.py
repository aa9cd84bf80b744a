"""What holds for all tests."""

import pytest
from hypothesis import settings

# An example that takes long on a loaded machine is no failure.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture
def anyio_backend():
    return "asyncio"
