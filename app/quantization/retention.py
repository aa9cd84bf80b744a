"""What of the cache is needed, by whom, and what may go."""

import logging
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.checkpoints.cache import (
    CachedCheckpoint,
    checkpoints,
    drop_entry,
    drop_leftover,
    leftovers,
    size_of,
    sources,
)
from app.environment import name_of
from app.jobs import Job, JobStatus, read_records
from app.models.base import Device
from app.quantization.promotion_log import promoted, promoted_over, record_of
from app.quantization.settings_recipe import possible_recipes
from app.settings import Settings
from app.sources.identity import of_others
from app.sources.resolve import at_hand

log = logging.getLogger(__name__)

Need = Literal["in use", "serves", "rollback", "settings", "job"]
# Jobs that still want their checkpoint: to go on, or to be promoted.
_UNDECIDED = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.INTERRUPTED, JobStatus.PROVEN)
_RESULTS = {
    "proofs": "what a proof heard",
    "costs": "what a device was measured to take",
    "sensitivities": "what layers were measured to lose",
}

Kind = Literal["checkpoint", "source", "leftover", "job", "orphan", "result"]


@dataclass(frozen=True)
class Removal:
    """Something of the cache that may go. size: in bytes; why: in words; used_at: Unix seconds."""

    kind: Kind
    path: Path
    size: int
    used_at: int
    why: str


def needs(settings: Settings, device: Device) -> dict[str, Need]:
    """Fingerprints of the checkpoints that somebody needs, and for what: the first of these that
    holds. What the settings ask for is the last used that fits them."""
    entries, found = checkpoints(settings.cache_dir), dict[str, Need]()
    for job in _undecided(settings.cache_dir):
        made = job.facts.get("checkpoint") or {}
        if "fingerprint" in made:
            found[made["fingerprint"]] = "job"
    stacks = promoted(settings.cache_dir)
    under = _under_promotion(settings)
    for name in sorted(settings.served_models, key=under.__contains__, reverse=True):
        if asked := _asked_for(entries, settings.of_model(name), device):
            found[asked.fingerprint] = "settings" if name in under else "serves"
    for stack in stacks.values():
        found |= dict.fromkeys(stack, "rollback")
    found |= {stack[-1]: "serves" for stack in stacks.values() if stack}
    return found | {one.fingerprint: "in use" for one in entries if one.in_use}


def source_needs(settings: Settings) -> dict[Path, Need]:
    """Folders of the converted sources that somebody needs, and for what: the first of these that
    holds."""
    cache, under = settings.cache_dir, _under_promotion(settings)
    found: dict[Path, Need] = {one.folder: "in use" for one in sources(cache) if one.in_use}

    def need(model: str, why: Need) -> None:
        if source := at_hand(model, cache):
            found.setdefault(source.folder, why)

    for name in sorted(settings.served_models, key=under.__contains__):
        need(settings.served_models[name], "settings" if name in under else "serves")
    for model in promoted_over(cache):
        need(model, "rollback")
    for job in _undecided(cache):
        need(job.request.get("model") or settings.model, "job")
    return found


def _under_promotion(settings: Settings) -> set[str]:
    """The served models in whose place something promoted serves."""
    stacks, names = promoted(settings.cache_dir), enumerate(settings.served_models)
    records = {name: record_of(settings.cache_dir, name if i else "") for i, name in names}
    return {name for name, record in records.items() if stacks.get(record)}


def _undecided(cache: Path) -> Iterator[Job]:
    return (job for job in read_records(cache / "jobs") if job.status in _UNDECIDED)


def _asked_for(
    entries: Iterable[CachedCheckpoint], settings: Settings, device: Device
) -> CachedCheckpoint | None:
    if settings.quantization == "none":
        return None
    source = at_hand(settings.model, settings.cache_dir)
    recipes = possible_recipes(settings, source, device)
    known = source.known_identity() if source else None

    def fits(one: CachedCheckpoint) -> bool:
        """By what its source is; by its name where that is not known of both."""
        if known and one.identity:
            return one.identity == known
        return one.name == name_of(settings.model)

    return next((one for one in entries if one.recipe in recipes and fits(one)), None)


def removals(
    settings: Settings, device: Device, *, all_but_serving: bool, older_than_days: float | None
) -> list[Removal]:
    """What may go. Without more, what nobody needs: what is half-made, damaged or nobody's, and
    checkpoints that neither serve, nor can be rolled back to or promoted, with what their sources
    were converted to.

    all_but_serving: also what could be rolled back to, promoted, resumed or remembered.
    older_than_days: only what was not used for so long, and then also jobs that are over and come
    to nothing, and what proofs remember. Half-made things have no age.
    """
    cache, needed = settings.cache_dir, needs(settings, device)
    kept: set[Need] = {"in use", "serves"}
    if not all_but_serving:
        kept |= {"rollback", "settings", "job"}
    found = [
        _removal("checkpoint", one.folder, one.used_at, f"{one.name} {one.scheme}")
        for one in checkpoints(cache)
        if needed.get(one.fingerprint) not in kept
    ]
    found += _sources(settings, kept)
    found += _orphans(cache)
    if all_but_serving or older_than_days is not None:
        found += _jobs(cache, all_but_serving)
        found += _results(cache)
    if older_than_days is not None:
        oldest = time.time() - older_than_days * 86_400
        found = [one for one in found if one.used_at < oldest]
    return found + [
        _removal("leftover", one, _mtime(one), "half-made, or damaged") for one in leftovers(cache)
    ]


def _results(cache: Path) -> list[Removal]:
    """What took long to find and is found again where it is gone."""
    return [
        _removal("result", one, _mtime(one), why)
        for folder, why in _RESULTS.items()
        for one in (cache / folder).glob("*.json")
    ]


def _removal(kind: Kind, path: Path, used_at: int, why: str) -> Removal:
    return Removal(kind, path, size_of(path), used_at, why)


def _jobs(cache: Path, all_but_serving: bool) -> Iterator[Removal]:
    kept = {JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PROMOTED}
    if not all_but_serving:
        kept |= {JobStatus.PROVEN, JobStatus.INTERRUPTED}
    for job in read_records(cache / "jobs"):
        if job.status not in kept:
            path = cache / "jobs" / f"{job.id}.json"
            size = sum(size_of(one) for one in (path, *traces(cache, job.id)) if one.exists())
            yield Removal("job", path, size, job.finished_at or job.created_at, _told(job))


def _told(job: Job) -> str:
    return f"{job.status}, of {job.request.get('model', 'a model')}"


def _sources(settings: Settings, kept: set[Need]) -> Iterator[Removal]:
    """Converted sources, and the identities of files that are no more."""
    cache, needed = settings.cache_dir, source_needs(settings)
    going = [one for one in sources(cache) if needed.get(one.folder) not in kept]
    for one in going:
        yield _removal("source", one.folder, one.used_at, f"{one.name}, made of {one.origin}")
    for path in of_others(cache, {one.folder for one in going}):
        yield _removal("orphan", path, _mtime(path), "the identity of files that are no more")


def _orphans(cache: Path) -> Iterator[Removal]:
    """Reports and canaries of jobs without a record."""
    known = {one.stem for one in (cache / "jobs").glob("*.json")}
    for one in (*(cache / "reports").glob("*.json"), *(cache / "canaries").glob("*")):
        if one.name.removesuffix(".json") not in known:
            yield _removal("orphan", one, _mtime(one), "of a job that was deleted")


def _mtime(path: Path) -> int:
    return int(path.lstat().st_mtime)


def traces(cache: Path, job_id: str) -> tuple[Path, Path]:
    """Where a job's report and canaries are, beside its record."""
    return cache / "reports" / f"{job_id}.json", cache / "canaries" / job_id


def delete_traces(cache: Path, job_id: str) -> None:
    """Delete what a job left beside its record, if it left anything. What the disk refuses, the
    next `marlinscribe cache prune` finds."""
    report, canaries = traces(cache, job_id)
    shutil.rmtree(canaries, ignore_errors=True)
    try:
        report.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s is left: %s", report, error)


def remove(one: Removal, cache: Path) -> bool:
    """Delete it; False where somebody has begun to use it. Jobs want the records taken (see
    `Records`). Raises OSError."""
    if one.kind in ("checkpoint", "source"):
        return drop_entry(one.path)
    if one.kind == "leftover":
        drop_leftover(one.path)
    elif one.path.is_dir():
        shutil.rmtree(one.path)
    else:
        one.path.unlink(missing_ok=True)
    if one.kind == "job":
        delete_traces(cache, one.path.stem)
    return True
