"""Names that clients have for models, and which Whisper each of them means."""

import re

# OpenAI's, of openai-python's types/audio_model.py. Clients have them as their default, or in a
# list to choose from. OpenAI ends all but the last on 2027-02-26; clients will send them longer.
# gpt-4o-transcribe-diarize is left out: who asks for it is promised speakers.
OPENAI = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe")
_ALSO_HOSTED = (
    "gpt-live-transcribe",  # OpenAI's of its realtime API
    "gpt-realtime-whisper",
    "whisper",  # Azure's model, and what its deployments are most often called
)
_SNAPSHOT = r"(-\d{4}-\d{2}-\d{2})?"  # gpt-4o-mini-transcribe-2025-12-15
_HOSTED = re.compile(f"(openai/)?({'|'.join(map(re.escape, OPENAI + _ALSO_HOSTED))}){_SNAPSHOT}")

# What openai/whisper and faster-whisper call their checkpoints; distil-whisper's have their own.
_SIZES = (
    "tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en",
    "large-v1", "large-v2", "large-v3", "large-v3-turbo",
    "distil-small.en", "distil-medium.en", "distil-large-v2", "distil-large-v3",
    "distil-large-v3.5",
)  # fmt: skip
_SIZE_OF = {size: size for size in _SIZES} | {
    "large": "large-v3",  # openai/whisper's and faster-whisper's
    "turbo": "large-v3-turbo",
    "distil-large-v3-en": "distil-large-v3",  # Groq's
}
_ON_THE_HUB = {"openai/whisper-large": "large-v1"}  # where the first kept its name

# Whose conversions and originals faster-whisper, speaches and their users name on the hub.
_OWNERS = {"", "openai", "systran", "distil-whisper", "guillaumekln", "mobiuslabsgmbh", "deepdml"}
_OWNERS |= {"dropbox-dash"}
# whisper-X (Groq's, LocalAI's), faster-whisper-X, faster-distil-whisper-X, distil-whisper-X, X.
_SPELLING = re.compile(r"(?:faster-)?(?P<distil>distil-)?(?:whisper-)?(?P<size>.+?)(?:-ct2)?")
# Families that may yet grow: what comes next is known before it is in the list above.
_FAMILY = re.compile(
    r"(openai/whisper|systran/faster-(distil-)?whisper|distil-whisper/distil|distil)-[\w.-]+"
)


def size_of(name: str) -> str | None:
    """Return the Whisper that a name means, as openai/whisper calls it (`large-v3`), or None."""
    name = name.strip().lower()
    owner, _, rest = name.rpartition("/")
    spelled = _SPELLING.fullmatch(rest)
    if owner not in _OWNERS or spelled is None:
        return None
    return _ON_THE_HUB.get(name) or _SIZE_OF.get((spelled["distil"] or "") + spelled["size"])


def is_known(name: str) -> bool:
    """Return whether clients have this name for a model that transcribes."""
    name = name.strip().lower()
    return bool(_HOSTED.fullmatch(name) or size_of(name) or _FAMILY.fullmatch(name))
