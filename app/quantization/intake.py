"""An order, looked at before it is taken: what cannot be done is refused at once, by field."""

import re
from pathlib import Path
from typing import Literal

from app.asr.plan import Device
from app.asr.tokens import SpecialTokens
from app.checkpoints.calibration import Clip, digest, read
from app.checkpoints.memo import Memo
from app.checkpoints.order import Order
from app.checkpoints.recipe import Recipe, Recordings, RecordingSet
from app.checkpoints.scoring import normalized
from app.checkpoints.source import Source, resolve
from app.errors import BadField, StartupError
from app.quantization.making import check_recipe, default_calibration, dtype_on
from app.settings import DEMO, Settings

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_SET = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(:[\w.-]*){1,2}")

Field = Literal["model", "recipe", "calibration", "proof", "thresholds", "canaries"]


class Intake:
    """Blocking: folders are read and hashed."""

    def __init__(self, settings: Settings, device: Device) -> None:
        self._settings = settings
        self._device = device
        own = (settings.model, settings.calibration or "")
        known = [Path(name).expanduser().resolve() for name in own if name]
        self._roots = [DEMO.resolve(), *settings.data_roots, *(p for p in known if p.exists())]

    def completed(self, order: Order, versions: dict[str, str]) -> tuple[Order, str]:
        """The order with nothing left to defaults, and its key: the same for the same order of the
        same files. Raises BadField."""
        model = order.model or self._settings.model
        source = self._source(model)
        recipe = self._recipe(order, source)
        proof = order.proof or self._default_proof(source)
        whole = order.model_copy(
            update={"model": model, "recipe": recipe, "calibration": None, "proof": proof}
        )
        heard = self._recordings("proof", proof, source)
        self._check_languages(whole, proof, heard)
        facts = {"order": whole.as_json(), "versions": versions, "proof": digest(proof)}
        if recipe.calibration:
            learned = self._recordings("calibration", recipe.calibration, source)
            _check_apart(learned, heard)
            facts["calibration"] = digest(recipe.calibration)
        if source:
            facts["source"] = source.identity()
        return whole, Memo.key(**facts)

    def canaries(self, wanted: Recordings) -> list[Clip]:
        """Raises BadField."""
        clips = self._recordings("canaries", wanted, None)
        if not clips:
            raise BadField("Canaries are read here, not from a hub.", param="canaries")
        return clips

    def _source(self, model: str) -> Source | None:
        """The local source; None is one of the hub's, which the job will look at."""
        folder = Path(model).expanduser()
        if not folder.exists() and _HUB_ID.fullmatch(model):
            return None
        self._check_path("model", folder)
        try:
            source = resolve(model)
        except StartupError as error:
            raise BadField(error.message, param="model", code=error.code) from error
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
            try:
                check_recipe(recipe, source, self._device)
            except StartupError as error:
                raise BadField(error.message, param="recipe", code=error.code) from error
        return recipe

    def _default_proof(self, source: Source | None) -> Recordings:
        if source is None or source.folder.parent != DEMO:
            raise BadField(
                "A proof needs recordings of your speech with their words: a manifest or a folder.",
                param="proof",
            )
        own = RecordingSet(source=str(DEMO / "recordings" / "test"))
        return Recordings(sources=(own,), samples=None)

    def _recordings(self, field: Field, wanted: Recordings, source: Source | None) -> list[Clip]:
        """The clips that can be looked at now, which a hub's cannot."""
        local = []
        for one in wanted.sources:
            path = Path(one.source).expanduser()
            if path.exists() or not _HUB_SET.fullmatch(one.source):
                self._check_path(field, path)
                local.append(one)
        if len(local) < len(wanted.sources):
            return []
        try:
            clips = read(wanted)
        except StartupError as error:
            raise BadField(error.message, param=field, code=error.code) from error
        for clip in clips:
            assert isinstance(clip.audio, Path)
            self._check_path(field, clip.audio)
        asked = wanted.samples if "samples" in wanted.model_fields_set else None
        if asked and asked > len(clips):
            raise BadField(
                f"{asked} recordings are asked for, and there are {len(clips)}.", param=field
            )
        self._check_known(field, clips, source)
        return clips

    def _check_path(self, field: Field, path: Path) -> None:
        real = path.expanduser().resolve()
        if not any(real.is_relative_to(root) for root in self._roots):
            raise BadField(
                f"{path} lies outside the folders that jobs may read (MARLINSCRIBE_DATA_ROOTS).",
                param=field,
                code="path_not_allowed",
            )

    def _check_known(self, field: Field, clips: list[Clip], source: Source | None) -> None:
        known = SpecialTokens.load(source.folder).languages if source else {}
        unknown = {clip.language for clip in clips} - known.keys() if known else set()
        if unknown:
            names = ", ".join(sorted(unknown))
            raise BadField(f"The checkpoint does not know the language {names}.", param=field)

    def _check_languages(self, order: Order, proof: Recordings, heard: list[Clip]) -> None:
        if not heard:
            return
        spoken = {clip.language for clip in heard}
        extra = order.thresholds.languages.keys() - spoken
        if extra:
            raise BadField(
                f"There is a limit for {sorted(extra)[0]}, and no such recording in the proof set.",
                param="thresholds",
            )
        for language in spoken:
            texts = [clip.text for clip in heard if clip.language == language]
            if not any(normalized(text, language).strip() for text in texts):
                raise BadField(f"The proof set has no words in {language}.", param="proof")


def _check_apart(learned: list[Clip], heard: list[Clip]) -> None:
    """What was calibrated on proves nothing."""
    both = {clip.content() for clip in learned} & {clip.content() for clip in heard}
    if both:
        raise BadField(
            f"{len(both)} recordings are both calibrated on and judged by: such a proof says "
            "nothing of other speech.",
            param="proof",
        )
