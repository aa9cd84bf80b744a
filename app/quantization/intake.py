"""An order, looked at before it is taken: what cannot be done is refused at once, by field."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from app.asr.languages import NAMES
from app.asr.plan import Device
from app.asr.tokens import SpecialTokens
from app.checkpoints.calibration import Clip, digest, read
from app.checkpoints.memo import Memo
from app.checkpoints.order import Order
from app.checkpoints.recipe import Recipe, Recordings, RecordingSet
from app.checkpoints.schemes import widths
from app.checkpoints.scoring import normalized
from app.checkpoints.source import Source, is_hub_id, resolve
from app.errors import BadField, StartupError
from app.quantization.making import check_recipe, default_calibration, dtype_on
from app.settings import DEMO, Settings

_HUB_SET = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(:[\w.-]*){1,2}")

Field = Literal["model", "recipe", "calibration", "proof", "thresholds", "canaries"]


class Intake:
    """Blocking: folders are read and hashed."""

    def __init__(self, settings: Settings, device: Device) -> None:
        self._settings = settings
        self._device = device
        own = [Path(name).expanduser() for name in (settings.model, settings.calibration) if name]
        # A file of the settings' own is a manifest: it and what it names, not what lies around it.
        self._own = {path.resolve() for path in own if path.is_file()}
        folders = [path.resolve() for path in own if path.is_dir()]
        self._roots = [DEMO.resolve(), *settings.data_roots, *folders]
        self._heard: set[str] = set()  # digests of recordings known to be sound

    def completed(self, order: Order, versions: dict[str, str]) -> tuple[Order, str]:
        """The order with nothing left to defaults, and its key: the same for the same order of the
        same files. Raises BadField."""
        model = order.model or self._settings.model
        source = self._source(model)
        recipe = self._recipe(order, source)
        own = order.calibration or order.recipe.calibration
        proof = order.proof or self._default_proof(source)
        whole = order.model_copy(
            update={"model": model, "recipe": recipe, "calibration": None, "proof": proof}
        )
        languages = _languages(source) if source else NAMES.keys()
        heard = self._recordings("proof", proof)
        _check_known("proof", heard, languages)
        _check_limits(whole, heard)
        facts: dict[str, Any] = {"order": whole.as_json(), "versions": versions}
        facts["proof"] = digest(proof)
        if recipe.calibration:
            learned = self._recordings("calibration", recipe.calibration, lenient=not own)
            _check_known("calibration", learned, languages)
            _check_apart(learned, heard)
            facts["calibration"] = digest(recipe.calibration)
        if facts["proof"] not in self._heard:
            _check_sound("proof", heard)
            self._heard.add(facts["proof"])
        if source:
            facts["source"] = source.identity()
        return whole, Memo.key(**facts)

    def canaries(self, wanted: Recordings) -> list[Clip]:
        """Raises BadField."""
        clips = self._recordings("canaries", wanted)
        _check_known("canaries", clips, NAMES.keys())
        _check_sound("canaries", clips)
        return clips

    def _source(self, model: str) -> Source | None:
        """The local source; None is one of the hub's, which the job will look at."""
        folder = _path("model", model)
        if not folder.exists() and is_hub_id(model):
            return None
        self._check_path("model", folder)
        with _told_of("model"):
            source = resolve(model)
            _languages(source)
            widths(source.config)
            if source.quantized:
                raise BadField(f"{source.name} is quantized already.", param="model")
        return source

    def _recipe(self, order: Order, source: Source | None) -> Recipe:
        given = order.calibration or order.recipe.calibration
        if order.recipe.method == "rtn" and given:
            raise BadField("rtn takes no calibration.", param="calibration")
        update: dict[str, object] = {"calibration": given}
        if given is None and order.recipe.method != "rtn":
            update["calibration"] = default_calibration(self._settings, source)
        if "dtype" not in order.recipe.model_fields_set:
            update["dtype"] = dtype_on(self._device)
        recipe = order.recipe.model_copy(update=update)
        if source:
            with _told_of("recipe"):
                check_recipe(recipe, source, self._device)
        return recipe

    def _default_proof(self, source: Source | None) -> Recordings:
        if source is None or source.folder.parent != DEMO:
            raise BadField(
                "A proof needs recordings of your speech with their words: a manifest or a folder.",
                param="proof",
            )
        own = RecordingSet(source=str(DEMO / "recordings" / "test"))
        return Recordings(sources=(own,), samples=None)

    def _recordings(self, field: Field, wanted: Recordings, *, lenient: bool = False) -> list[Clip]:
        """The clips, as far as they lie here. `lenient` takes fewer than are asked for."""
        local = [one for one in wanted.sources if self._is_local(field, one)]
        with _told_of(field):
            for one in local:
                self._check_files(field, Recordings(sources=(one,), samples=None))
            if len(local) < len(wanted.sources):
                if field != "calibration":
                    raise BadField(
                        "A hub's set can be calibrated on; what is judged by lies here, in a "
                        "folder or a manifest.",
                        param=field,
                    )
                return []
            clips = read(wanted)
        asked = wanted.samples if "samples" in wanted.model_fields_set and not lenient else None
        if asked and asked > len(clips):
            raise BadField(
                f"{asked} recordings are asked for, and there are {len(clips)}.", param=field
            )
        return clips

    def _is_local(self, field: Field, one: RecordingSet) -> bool:
        path = _path(field, one.source)
        if not path.exists() and _HUB_SET.fullmatch(one.source):
            return False
        self._check_path(field, path)
        return True

    def _check_files(self, field: Field, one: Recordings) -> None:
        """None of a set's files leads outside: neither what its manifest names, nor a link."""
        folder = Path(one.sources[0].source).expanduser()
        if folder.resolve() in self._own:
            return
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.is_symlink():
                self._check_path(field, path)
        for clip in read(one):
            assert isinstance(clip.audio, Path)
            self._check_path(field, clip.audio)

    def _check_path(self, field: Field, path: Path) -> None:
        real = path.resolve()
        inside = any(real.is_relative_to(root) for root in self._roots)
        if not inside and real not in self._own:
            raise BadField(
                f"{path} lies outside the folders that jobs may read (MARLINSCRIBE_DATA_ROOTS).",
                param=field,
                code="path_not_allowed",
            )


@contextmanager
def _told_of(field: Field) -> Iterator[None]:
    """What is wrong with a field's files, as the caller's to mend."""
    try:
        yield
    except StartupError as error:
        raise BadField(error.message, param=field, code=error.code) from error
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise BadField(f"It is not what it should be: {error!r}.", param=field) from error


def _path(field: Field, given: str) -> Path:
    """Raises BadField for what cannot be one: a home of nobody, a NUL, thousands of letters."""
    try:
        path = Path(given).expanduser()
        path.resolve().exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadField(f"{given[:100]!r} is no path: {error}.", param=field) from error
    return path


def _languages(source: Source) -> Collection[str]:
    """An English-only checkpoint names none."""
    return SpecialTokens.load(source.folder).languages.keys() or {"en"}


def _check_known(field: Field, clips: list[Clip], known: Collection[str]) -> None:
    unknown = sorted({clip.language for clip in clips} - set(known))
    if unknown:
        names = ", ".join(unknown)
        raise BadField(f"The checkpoint does not know the language {names}.", param=field)


def _check_sound(field: Field, clips: list[Clip]) -> None:
    """Better now than when the checkpoint is made, hours later."""
    with _told_of(field):
        for clip in clips:
            clip.waveform()


def _check_limits(order: Order, heard: list[Clip]) -> None:
    """Limits are of languages that are spoken, and what is spoken can be judged."""
    spoken = {clip.language for clip in heard}
    extra = sorted(order.thresholds.languages.keys() - spoken)
    if extra:
        raise BadField(
            f"There is a limit for {extra[0]}, and no such recording in the proof set.",
            param="thresholds",
        )
    for language in spoken:
        texts = [clip.text for clip in heard if clip.language == language]
        if not any(normalized(text, language).strip() for text in texts):
            raise BadField(f"The proof set has no words in {language}.", param="proof")


def _check_apart(learned: list[Clip], heard: list[Clip]) -> None:
    """What was calibrated on proves nothing."""
    marks = [{sha256(clip.content()).digest() for clip in clips} for clips in (learned, heard)]
    both = marks[0] & marks[1]
    if both:
        raise BadField(
            f"{len(both)} recordings are both calibrated on and judged by: such a proof says "
            "nothing of other speech.",
            param="proof",
        )
