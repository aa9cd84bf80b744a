"""How plain types are kept as JSON: bytes of a token may be half a character, and a figure
infinite."""

from pydantic import ConfigDict

# For a TypeAdapter of a list: a dataclass by itself has settings of its own.
AS_JSON = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
