import pytest

from app.jobs import Jobs
from tests.jobs.fakes import Work


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def open_again(tmp_path, work):
    """Jobs over the same folder, as the next process would have them."""
    return lambda most_waiting=8: Jobs(tmp_path / "jobs", work, most_waiting=most_waiting)


@pytest.fixture
def jobs(open_again):
    return open_again()
