"""The log of promotions: which made checkpoint serves in place of the settings' own, also after a
restart.

It is a stack, in one file: a promotion pushes, a rollback pops, and below the last lies what the
settings ask for. The log belongs to these settings: where an operator asks for another model, or
for another recipe, it is forgotten.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.files import write_json
from app.settings import Settings

log = logging.getLogger(__name__)

_MOST = 8  # promotions that can be rolled back, one by one


@dataclass(frozen=True)
class Promotion:
    """A promotion. fingerprint: of the store's entry; job: the one that proved it; proof: its
    summary; since: Unix seconds."""

    fingerprint: str
    job: str
    since: int
    proof: dict[str, Any] = field(default_factory=dict)


class PromotionLog:
    """The stack of one slot."""

    def __init__(self, settings: Settings, slot: str = "") -> None:
        """`slot` names a model that is not the default."""
        self._path = _file(settings.cache_dir, slot)
        asked = {"model", "quantization", "group_size", "calibration", "calibration_samples",
                 "calibration_language"}  # fmt: skip
        self._asked = settings.model_dump(mode="json", include=asked)
        self._stack = self._load()

    @property
    def current(self) -> Promotion | None:
        return self._stack[-1] if self._stack else None

    @property
    def before(self) -> Promotion | None:
        """The promotion that a rollback goes to; None is what the settings ask for."""
        return self._stack[-2] if len(self._stack) > 1 else None

    def push(self, promotion: Promotion) -> None:
        """Add a promotion. Raises OSError."""
        self._save([*self._stack, promotion][-_MOST:])

    def pop(self) -> None:
        """Remove the last promotion. Raises OSError."""
        self._save(self._stack[:-1])

    def forget(self, promotion: Promotion) -> None:
        """Remove a promotion that cannot be served any more, wherever it stands; on the disk too,
        if that can be written."""
        stack = [one for one in self._stack if one != promotion]
        try:
            self._save(stack)
        except OSError as error:
            log.error("a restart will look for %s again: %s", promotion.fingerprint, error)
            self._stack = stack

    def _save(self, stack: list[Promotion]) -> None:
        record = {"asked": self._asked, "stack": [asdict(one) for one in stack]}
        write_json(self._path, record)
        self._stack = stack

    def _load(self) -> list[Promotion]:
        try:
            record = json.loads(self._path.read_text("utf-8"))
            stack = [Promotion(**one) for one in record["stack"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, LookupError) as error:
            log.warning("%s cannot be read, nothing counts as promoted: %s", self._path, error)
            return []
        if record.get("asked") != self._asked:
            log.warning("the settings ask for another checkpoint: what was promoted is forgotten")
            return []
        return stack


def promoted(cache: Path) -> dict[str, list[str]]:
    """Fingerprints of what was promoted, the last last, by the record's path: of whichever settings
    these are, for a server may have others than whoever asks."""
    return {str(path): _fingerprints(path) for path in sorted(cache.glob("serving*.json"))}


def promoted_over(cache: Path) -> list[str]:
    """The models that the settings asked for in whose place something promoted serves."""
    paths = sorted(cache.glob("serving*.json"))
    return [_asked_model(path) for path in paths if _fingerprints(path)]


def record_of(cache: Path, slot: str = "") -> str:
    """The path of a slot's record, as `promoted` has it."""
    return str(_file(cache, slot))


def _asked_model(path: Path) -> str:
    try:
        return str(json.loads(path.read_text("utf-8"))["asked"]["model"])
    except (OSError, ValueError, TypeError, LookupError):
        return ""


def _fingerprints(path: Path) -> list[str]:
    """Nothing where there is no record, or none that can be read."""
    try:
        record = json.loads(path.read_text("utf-8"))
        return [str(one["fingerprint"]) for one in record["stack"]]
    except (OSError, ValueError, TypeError, LookupError):
        return []


def _file(cache: Path, slot: str) -> Path:
    mark = hashlib.sha256(slot.encode()).hexdigest()[:8]
    return cache / (f"serving-{mark}.json" if slot else "serving.json")
