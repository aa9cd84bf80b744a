"""A hub's library that is made up."""

import sys
from types import SimpleNamespace

import pytest


class FakeHub:
    """The hub's library with one set of `rows`, whose card names `files`; `asked` are names."""

    def __init__(self, *rows, files=None):
        self.rows, self.files, self.asked = rows, files, []
        self.Audio = lambda decode: decode

    def load_dataset_builder(self, path, config):
        self.asked.append((path, config))
        files = [f"{path}@abc/train.parquet"] if self.files is None else self.files
        self.config = SimpleNamespace(data_files={"train": files})
        return self

    def as_streaming_dataset(self, split):
        return self

    def cast_column(self, column, feature):
        return iter(self.rows)


@pytest.fixture
def hub(monkeypatch):
    def hub(*rows, **more):
        fake = FakeHub(*rows, **more)
        monkeypatch.setitem(sys.modules, "datasets", fake)
        return fake

    return hub
