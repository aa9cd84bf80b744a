"""The script that Chinese is written in, whatever the model writes.

Whisper mixes Traditional and Simplified characters, and puts spaces between some. OpenCC converts,
by phrases where one character stands for several.
"""

import re
from functools import cache
from typing import Literal

Script = Literal["zh-TW", "zh-HK", "zh-Hant", "zh-Hans"]

# OpenCC's configurations. Taiwan's has its words too: 软件 is 軟體 there and not 軟件.
_CONFIGURATIONS: dict[Script, str] = {
    "zh-TW": "s2twp",
    "zh-HK": "s2hk",
    "zh-Hant": "s2t",
    "zh-Hans": "t2s",
}
_HAN = r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3000-\u303f\uff00-\uffef]"
_SPACE_WITHIN = re.compile(f"(?<={_HAN}) +(?={_HAN})")


def written_in(text: str, script: Script | None) -> str:
    """Return a Chinese text in a script, or in the model's own where that is None; without spaces
    between its characters. What is in that script already stays as it is."""
    close = _SPACE_WITHIN.sub("", text)
    if script is None:
        return close
    converted: str = load(script).convert(close)
    return converted


@cache
def load(script: Script):  # type: ignore[no-untyped-def]  # OpenCC has no types
    """Load a converter: blocking, for a tenth of a second the first time."""
    from opencc import OpenCC

    return OpenCC(_CONFIGURATIONS[script])
