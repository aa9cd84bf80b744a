"""Which of the served models a client's name for one means."""

from collections.abc import Iterable

from app.environment import ANY_NAME, alias_targets, is_loopback, name_of
from app.errors import UnknownModel
from app.model_names import OPENAI, is_known, size_of
from app.settings import Settings

_LONGEST_TOLD = 100  # characters of what a client sent


class ServedNames:
    """The names that a service answers to.

    A served model's own name comes first, then the settings' aliases. A name that clients have
    (app/model_names.py) means the served model of its size, else the default. Any other name means
    the default too where the service listens on loopback, or where the settings take any.
    """

    def __init__(self, settings: Settings) -> None:
        self._served = settings.served_models
        self._aliases = alias_targets(settings.model_aliases, self._served)
        self._default = next(iter(self._served))
        on_loopback = self._default if is_loopback(settings.host) else None
        self._for_any = self._aliases.pop(ANY_NAME, on_loopback)
        by_source = [(size_of(name_of(source)), name) for name, source in self._served.items()]
        by_name = [(size_of(name), name) for name in self._served]
        # The first of a size, and what a source says of itself before what it is called here.
        self._of_size = {size: name for size, name in reversed(by_source + by_name) if size}

    def find(self, asked: str) -> str:
        """The served model's name. Raises UnknownModel."""
        if asked in self._served:
            return asked
        if name := self._aliases.get(asked):
            return name
        if is_known(asked):
            return self._of_size.get(size_of(asked) or "", self._default)
        if self._for_any:
            return self._for_any
        raise unknown_model(
            asked, self._served, " MARLINSCRIBE_MODEL_ALIASES says which other names are taken."
        )

    def listed(self, served: str) -> tuple[str, ...]:
        """The aliases of a served model that a list should show: the settings', and those of
        OpenAI's, which clients choose from. Dozens more are known."""
        ours = [alias for alias, name in self._aliases.items() if name == served]
        openai = [name for name in OPENAI if self.find(name) == served]
        return tuple(name for name in dict.fromkeys(ours + openai) if name not in self._served)


def unknown_model(asked: str, served: Iterable[str], more: str = "") -> UnknownModel:
    """The error for a name that none of the served models goes by."""
    names = [repr(name) for name in served]
    are = "is" if len(names) == 1 else "are"
    told = repr(asked[:_LONGEST_TOLD])
    message = f"The model {told} is not served here; {' and '.join(names)} {are}.{more}"
    return UnknownModel(message, param="model")
