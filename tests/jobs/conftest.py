import pytest

from app.jobs import Jobs
from tests.jobs.fakes import Work


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def open_again(tmp_path, work):
    """Jobs over the same folder, as the next process would have them after the last one's end."""
    before = []

    def open_again(most_waiting=8):
        while before:
            before.pop().leave()
        before.append(Jobs(tmp_path / "jobs", work, most_waiting=most_waiting))
        return before[-1]

    return open_again


@pytest.fixture
def jobs(open_again):
    return open_again()
