"""Validation of a request: what cannot be done is refused at once, by field."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from app.checkpoints.content_hashes import content_hashes
from app.checkpoints.device import device_facts, fingerprint
from app.checkpoints.fused_groups import fused_groups
from app.checkpoints.recipe import Recipe
from app.checkpoints.result_cache import ResultCache
from app.environment import DEMO
from app.errors import BadField
from app.languages import NAMES
from app.models.base import Device
from app.quantization.auto_recipe import AutoRecipe
from app.quantization.checks import (
    Decode,
    Field,
    as_bad_field,
    check_apart,
    check_known,
    check_limits,
    check_sound,
    languages,
)
from app.quantization.request import QuantizationRequest
from app.quantization.settings_recipe import check_recipe, default_calibration, dtype_on
from app.recordings.clip import Clip
from app.recordings.known_sets import hub_set, is_hub_set
from app.recordings.read import digest, nearby, read
from app.recordings.spec import Recordings, RecordingSet
from app.settings import Settings
from app.sources.hub import is_hub_id
from app.sources.resolve import resolve
from app.sources.source import Source


class ValidatedRequest(NamedTuple):
    """A request with nothing left to defaults; its key, the same for the same request of the same
    files; and the content_hashes() of these."""

    request: QuantizationRequest
    key: str
    content_hashes: dict[str, Any]


class RequestValidator:
    """Validates requests. Blocking: folders are read and hashed."""

    def __init__(self, settings: Settings, device: Device, *, any_path: bool = False) -> None:
        """`any_path` is for a user of the shell, who may read every file that the process may."""
        self._settings = settings
        self._device = device
        self._any_path = any_path
        models = settings.served_models.values()
        own = [Path(name).expanduser() for name in (*models, settings.calibration) if name]
        # A file of the settings' own is a manifest: it and what it names, not what lies around it.
        self._own = {path.resolve() for path in own if path.is_file()}
        folders = [path.resolve() for path in own if path.is_dir()]
        self._own_models = {Path(model).expanduser().resolve() for model in models}
        self._roots = [DEMO.resolve(), *settings.data_roots, *folders]
        self._heard: set[str] = set()  # digests of recordings known to be sound

    def completed(
        self, request: QuantizationRequest, versions: dict[str, str], decode: Decode | None = None
    ) -> ValidatedRequest:
        """Validate a request and fill in its defaults. Recordings are tried by `decode`, else in
        this process. Raises BadField."""
        source = self._source(request.model or self._settings.model)
        whole = self._checked(self._with_proof(request, source), source, decode)
        found = content_hashes(source, whole.recipe.calibration, whole.proof)
        order = whole.as_json() | {"recipe": whole.recipe.facts()}
        if isinstance(whole.recipe, AutoRecipe):  # another device may have another choice
            versions = versions | {"device": fingerprint(self._device_facts())}
        return ValidatedRequest(
            whole, ResultCache.key(order=order, versions=versions, **found), found
        )

    def _device_facts(self) -> dict[str, Any]:
        device = self._device
        return device_facts(device, dtype_on(device), self._settings.linear_backend)

    def checked(
        self, request: QuantizationRequest, source: Source, *, needs_proof: bool
    ) -> QuantizationRequest:
        """Validate a request for a source that is here, and fill in its defaults; but for the
        proof, unless the request needs one. Raises BadField."""
        self._check_source(source)
        return self._checked(self._with_proof(request, source) if needs_proof else request, source)

    def _with_proof(
        self, request: QuantizationRequest, source: Source | None
    ) -> QuantizationRequest:
        return request.model_copy(update={"proof": request.proof or self._default_proof(source)})

    def _checked(
        self, request: QuantizationRequest, source: Source | None, decode: Decode | None = None
    ) -> QuantizationRequest:
        recipe = self._recipe(request, source)
        own = request.calibration or request.recipe.calibration
        model = request.model or self._settings.model
        whole = request.model_copy(update={"model": model, "recipe": recipe, "calibration": None})
        known = languages(source) if source else NAMES.keys()
        heard = self._judged_by(whole, known) if whole.proof else []
        if recipe.calibration:
            learned = self._recordings("calibration", recipe.calibration, lenient=not own)
            check_known("calibration", learned, known)
            check_apart(learned, heard)
        if whole.proof and (mark := digest(whole.proof)) not in self._heard:
            check_sound("proof", heard, decode)
            self._heard.add(mark)
        return whole

    def _judged_by(self, request: QuantizationRequest, known: Collection[str]) -> list[Clip]:
        assert request.proof is not None
        heard = self._recordings("proof", request.proof)
        check_known("proof", heard, known)
        check_limits(request, heard)
        return heard

    def canaries(self, wanted: Recordings, decode: Decode | None = None) -> list[Clip]:
        """Read an operator's canaries, which are tried as in `completed`. Raises BadField."""
        clips = self._recordings("canaries", wanted)
        check_known("canaries", clips, NAMES.keys())
        check_sound("canaries", clips, decode)
        return clips

    def _source(self, model: str) -> Source | None:
        """Return the local source; None stands for one of the hub's, which the job will check."""
        folder = _path("model", model)
        if not folder.exists() and is_hub_id(model):
            return None
        self._check_path("model", folder)
        self._check_model_files(folder)
        with as_bad_field("model"):
            source = resolve(model, self._settings.cache_dir)
        self._check_source(source)
        return source

    def _check_source(self, source: Source) -> None:
        with as_bad_field("model"):
            languages(source)
            fused_groups(source.config)
            if source.quantized:
                raise BadField(f"{source.name} is quantized already.", param="model")

    def _recipe(self, request: QuantizationRequest, source: Source | None) -> Recipe | AutoRecipe:
        given = request.calibration or request.recipe.calibration
        if isinstance(request.recipe, AutoRecipe):
            learned = given or default_calibration(self._settings, source)
            if source:
                request.recipe.wish(source.config)
            return request.recipe.model_copy(update={"calibration": learned})
        recipe = self._with_defaults(request.recipe, given, source)
        if source:
            with as_bad_field("recipe"):
                check_recipe(recipe, source, self._device)
        return recipe

    def _with_defaults(
        self, recipe: Recipe, given: Recordings | None, source: Source | None
    ) -> Recipe:
        if recipe.method == "rtn" and given:
            raise BadField("rtn takes no calibration.", param="calibration")
        update: dict[str, object] = {"calibration": given}
        if given is None and recipe.method != "rtn":
            update["calibration"] = default_calibration(self._settings, source)
        if "dtype" not in recipe.model_fields_set:
            update["dtype"] = dtype_on(self._device)
        return recipe.model_copy(update=update)

    def _default_proof(self, source: Source | None) -> Recordings:
        if source is None or source.folder.parent != DEMO:
            raise BadField(
                "A proof needs recordings of your speech with their words: a manifest or a folder.",
                param="proof",
            )
        own = RecordingSet(source=str(DEMO / "recordings" / "test"))
        return Recordings(sources=(own,), samples=None)

    def _recordings(self, field: Field, wanted: Recordings, *, lenient: bool = False) -> list[Clip]:
        """Read the clips that lie here. `lenient` accepts fewer than are asked for."""
        local = [one for one in wanted.sources if self._is_local(field, one)]
        with as_bad_field(field):
            for one in local:
                self._check_files(field, Recordings(sources=(one,), samples=None))
            if len(local) < len(wanted.sources):
                if field != "calibration":
                    raise BadField(
                        "A hub's set can be calibrated on; what is judged by lies here, in a "
                        "folder or a manifest (marlinscribe evaluate SET copies one here).",
                        param=field,
                    )
                return nearby(wanted)
            clips = read(wanted)
        asked = wanted.samples if "samples" in wanted.model_fields_set and not lenient else None
        if asked and asked > len(clips):
            raise BadField(
                f"{asked} recordings are asked for, and there are {len(clips)}.", param=field
            )
        return clips

    def _is_local(self, field: Field, one: RecordingSet) -> bool:
        path = _path(field, one.source)
        if not path.exists() and is_hub_set(one.source):
            with as_bad_field(field):
                hub_set(one.source)
            return False
        self._check_path(field, path)
        return True

    def _check_files(self, field: Field, one: Recordings) -> None:
        """Check that none of a set's files leads outside: neither what its manifest names, nor a
        link."""
        if self._any_path:
            return
        folder = Path(one.sources[0].source).expanduser()
        if folder.resolve() in self._own:
            return
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.is_symlink():
                self._check_path(field, path)
        for clip in read(one):
            assert isinstance(clip.audio, Path)
            self._check_path(field, clip.audio)

    def _check_model_files(self, folder: Path) -> None:
        """A model's files are read, and those beside its weights copied into what is made of it:
        none is a link that leads outside. The settings' own model may lie as its operator linked
        it, and a hub's snapshot is links into its cache."""
        if self._any_path or folder.resolve() in self._own_models:
            return
        blobs = folder.resolve().parent.parent / "blobs"
        # A file of OpenAI's takes the tokenizer beside it.
        files = folder.rglob("*") if folder.is_dir() else [folder.with_name("tokenizer.json")]
        for path in files:
            if path.is_symlink() and not _leads_into(path, blobs):
                self._check_path("model", path)

    def _check_path(self, field: Field, path: Path) -> None:
        real = path.resolve()
        inside = self._any_path or any(real.is_relative_to(root) for root in self._roots)
        if not inside and real not in self._own:
            raise BadField(
                f"{path} lies outside the folders that jobs may read (MARLINSCRIBE_DATA_ROOTS).",
                param=field,
                code="path_not_allowed",
            )


def _leads_into(link: Path, blobs: Path) -> bool:
    """Whether a link is a hub's cache's: …/snapshots/<commit>/<name> to …/blobs/<hash>."""
    return blobs.parent.name.startswith("models--") and link.resolve().parent == blobs


def _path(field: Field, given: str) -> Path:
    """Return a path. Raises BadField for what cannot be one: a home of nobody, a NUL, thousands of
    letters."""
    try:
        path = Path(given).expanduser()
        path.resolve().exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadField(f"{given[:100]!r} is no path: {error}.", param=field) from error
    return path
