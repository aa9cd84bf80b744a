import pytest

from app.jobs import Jobs
from app.jobs.records import Records
from tests.jobs.fakes import OPENED, Work


@pytest.fixture(autouse=True)
def records(monkeypatch):
    """Those that a test has, so that it can wait for them."""
    begin = Records.__init__

    def noted(records, folder):
        begin(records, folder)
        OPENED.append(records)

    monkeypatch.setattr(Records, "__init__", noted)
    yield
    OPENED.clear()


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
