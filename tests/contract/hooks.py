"""What schemathesis cannot make up: recordings, and names that are served. Loaded by it."""

import json
import os
from base64 import b64encode

import schemathesis
from hypothesis import strategies as st

from harness.server import DEMO

_MOST_ITEMS = 200  # that a field may have; more are as generated

RECORDINGS = [
    path.read_bytes() for path in sorted((DEMO / "recordings" / "test").glob("*.ogg"))[:3]
]
KNOWN = {
    "file": st.sampled_from(RECORDINGS),
    "audio_file": st.sampled_from(RECORDINGS),
    "model": st.sampled_from(["whisper-1", "marine-radio"]),
    "language": st.sampled_from(["en", "zh-TW", "English"]),
    "languages[]": st.lists(st.sampled_from(["en", "zh"]), min_size=1, max_size=2),
}
KNOWN["languages"] = KNOWN["languages[]"]
# Of a job, a file and a batch that there are, by the path that each stands under.
IDS = json.loads(os.environ.get("KNOWN_IDS", "{}"))
if IDS:
    KNOWN["input_file_id"] = st.just(IDS["/v1/files"])
INPUT_AUDIO = st.sampled_from([{"data": b64encode(one).decode()} for one in RECORDINGS])


@schemathesis.hook
def filter_body(context, body):
    """A field that is sent empty counts as left out, which a schema can hardly say; and of an
    empty array a form sends nothing at all. A prompt is any text, and on a form all is text."""
    if not isinstance(body, dict):
        return True
    prompted = isinstance(body.get("prompt", ""), str)
    return prompted and not any(_is_empty(value) for value in body.values())


def _is_empty(value):
    if isinstance(value, list):
        return not value or any(_is_empty(item) for item in value)
    return value == ""


@schemathesis.hook
def flatmap_body(context, body):
    """Three of four such fields become one that means something; the rest is as generated, and
    so is what was generated to be of the wrong type."""
    if not isinstance(body, dict):
        return st.just(body)
    if _is_recording(body.get("input_audio")):
        whole = st.one_of(INPUT_AUDIO, INPUT_AUDIO, INPUT_AUDIO, st.just(body["input_audio"]))
        return whole.flatmap(lambda one: _meaningful(body | {"input_audio": one}))
    return _meaningful(body)


@schemathesis.hook
def flatmap_path_parameters(context, parameters):
    """One of two ids is that of something that there is, until it is deleted."""
    known = IDS.get(context.operation.path.partition("/{")[0])
    if not known or not parameters or "id" not in parameters:
        return st.just(parameters)
    return st.sampled_from([parameters, parameters | {"id": known}])


@schemathesis.hook
def filter_query(context, query):
    """As in a form."""
    return not any(_is_empty(value) for value in (query or {}).values())


def _is_recording(value):
    return (
        isinstance(value, dict)
        and isinstance(value.get("data"), str)
        and isinstance(value.get("format", ""), str | None)
    )


def _meaningful(body):
    fields = {
        name: st.one_of(KNOWN[name], KNOWN[name], KNOWN[name], st.just(value))
        if name in KNOWN and _is_text(value) else st.just(value)
        for name, value in body.items()
    }  # fmt: skip
    return st.fixed_dictionaries(fields)


def _is_text(value):
    if isinstance(value, list):
        return len(value) <= _MOST_ITEMS and all(isinstance(item, str) for item in value)
    return isinstance(value, str | bytes)
