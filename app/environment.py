"""How settings are written in variables of the environment."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError
from pydantic_settings import EnvSettingsSource, NoDecode

DEMO = Path(__file__).resolve().parent.parent / "demo"
DEMO_MODEL = DEMO / "marine-radio"
ANY_NAME = "*"  # among aliases

# The environment holds text, and Literal takes no text for a number.
GroupSize = Annotated[
    Literal[32, 64, 128, "channel", "auto"],
    BeforeValidator(lambda v: int(v) if str(v).isdecimal() else v),
]


class EnvironmentSource(EnvSettingsSource):
    """The environment without its blank variables: `MARLINSCRIBE_MODEL=` in a file that compose or
    systemd reads leaves the setting as it is, and asks for no folder of that name."""

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        return {n: v for n, v in found.items() if not isinstance(v, str) or v.strip()}


def split(value: Any) -> Any:
    """The parts of a list with commas; what is no text is left as it is."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bundled(model: str) -> str:
    """Return what a model is loaded from: `demo` is the checkpoint that is bundled."""
    return str(DEMO_MODEL) if model == "demo" else model


def name_of(model: str) -> str:
    """Return what a model is called that was given without a name: a folder's, a file's without its
    suffix, or the hub's id."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path.resolve().name
    return path.stem if path.suffix == ".pt" else model


def named_sources(several: Sequence[str]) -> dict[str, str]:
    """Names to sources, of models given as name=source. Raises PydanticCustomError for one that is
    not, and for a name that two of them claim."""
    named: dict[str, str] = {}
    for one in several:
        name, _, source = (part.strip() for part in one.partition("="))
        if not name or not source:
            raise PydanticCustomError(
                "no_name",
                "{one} is not name=source, such as tiny=openai/whisper-tiny.",
                {"one": repr(one)},
            )
        if name in named:
            raise PydanticCustomError(
                "claimed_twice", "Two models are named {name}.", {"name": repr(name)}
            )
        named[name] = bundled(source)
    return named


def alias_targets(aliases: Sequence[str], served: Mapping[str, str]) -> dict[str, str]:
    """Aliases, given as alias or alias=name, to names of served models. Raises PydanticCustomError
    for an alias of a model that is not served, and for one that two models claim."""
    targets: dict[str, str] = {}
    for one in aliases:
        alias, given, name = (part.strip() for part in one.partition("="))
        name = name if given else next(iter(served))
        if not alias or name not in served:
            raise PydanticCustomError(
                "no_such_model",
                "MARLINSCRIBE_MODEL_ALIASES has {one}, which names no model: {served} would.",
                {"one": repr(one), "served": " or ".join(map(repr, served))},
            )
        if (alias in served and alias != name) or targets.get(alias, name) != name:
            raise PydanticCustomError(
                "claimed_twice",
                "{alias} is the name of a model and, in MARLINSCRIBE_MODEL_ALIASES, of another.",
                {"alias": repr(alias)},
            )
        targets[alias] = name
    return targets


def _named_once(several: tuple[str, ...]) -> tuple[str, ...]:
    named_sources(several)
    return several


# NoDecode: "a,b" from the environment, not JSON
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]
Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().resolve())]
Folders = Annotated[tuple[Folder, ...], NoDecode, BeforeValidator(split)]
NoneOr = BeforeValidator(lambda value: None if value in ("none", "") else value)
# HTTP takes blanks around a key off what a client sends.
Stripped = BeforeValidator(lambda v: (v.strip() if isinstance(v, str) else v) or None)
# SecretStr: not shown where settings are
Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(split)]
ModelSource = Annotated[str, AfterValidator(bundled)]
NamedSources = Annotated[Names, AfterValidator(_named_once)]


def check_together(settings: Any) -> None:
    """Raises PydanticCustomError where settings contradict each other."""
    alias_targets(settings.model_aliases, settings.served_models)
    _check_keys(settings)
    if settings.stored_upload_bytes < settings.max_upload_bytes:
        raise PydanticCustomError(
            "store_too_small",
            "MARLINSCRIBE_MAX_STORED_UPLOAD_BYTES={stored} is less than one upload may have "
            "(MARLINSCRIBE_MAX_UPLOAD_BYTES={most}).",
            {"stored": settings.stored_upload_bytes, "most": settings.max_upload_bytes},
        )


def _check_keys(settings: Any) -> None:
    admin = settings.admin_key and settings.admin_key.get_secret_value()
    if admin and admin in {key.get_secret_value() for key in settings.api_keys}:
        raise PydanticCustomError(
            "keys_equal",
            "MARLINSCRIBE_ADMIN_KEY is one of MARLINSCRIBE_API_KEYS, so that every client with "
            "that key could do what an admin does. Give the admin a key of its own.",
        )
    if not (settings.api_keys or settings.allow_anonymous or is_loopback(settings.host)):
        raise PydanticCustomError(
            "keys_missing",
            "MARLINSCRIBE_HOST={host} can be reached from other machines, and no keys are set. "
            "Set MARLINSCRIBE_API_KEYS, or MARLINSCRIBE_ALLOW_ANONYMOUS=true to serve anyone.",
            {"host": settings.host},
        )
