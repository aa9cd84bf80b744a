"""Copies of a hub's sets in the cache, to measure by."""

import logging
from pathlib import Path

from app.folders import cache_faults, locked, make_whole, slug
from app.quantization.quantizer_process import Quantizer
from app.recordings.copying import ALL, SHORT
from app.recordings.known_sets import hub_set
from app.settings import Settings

log = logging.getLogger(__name__)


def copied(source: str, language: str, samples: int | None, settings: Settings) -> Path:
    """Return the cache's folder with a hub's set, which is copied there unless it is there already;
    `language` is of rows that name none. Blocking. Raises StartupError."""
    wanted = hub_set(source, judging=True)
    part = (wanted.repository, wanted.config, wanted.split, wanted.language or language)
    name = slug(":".join(part)) + (f"-{samples}" if samples else "")
    folder = settings.cache_dir / "recordings" / name
    quantizer = Quantizer(settings.quantizer_python, settings.quantizer_overlay)
    with cache_faults(settings.cache_dir), locked(folder):
        if not folder.is_dir():
            log.info("%s is copied from the hub to %s", source, folder)
            make_whole(folder, lambda work: quantizer.copy(source, language, samples, work))
    return folder


def copied_for_proof(source: str, settings: Settings) -> Path:
    """Return the manifest of what a proof takes of a hub's set, recordings of at most 30 s; how
    many are left out is logged. Raises StartupError."""
    folder = copied(source, "en", None, settings)
    every, short = ((folder / name).read_text("utf-8").count("\n") for name in (ALL, SHORT))
    if every > short:
        log.warning("%s: %d recordings of over 30 s are left out", source, every - short)
    return folder / SHORT
