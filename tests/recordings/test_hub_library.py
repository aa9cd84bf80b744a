"""The hub's own library reads sets as they lie there, from a hub of a few files: no other answers
where tests run. Their layouts and columns are those that the real sets' cards tell of."""

import subprocess
import sys

import pytest

from app.errors import NoCalibration
from app.quantization.quantizer_process import Quantizer
from app.recordings.copying import SHORT
from app.recordings.read import recordings
from app.settings import Settings
from tests.http_server import serving
from tests.recordings.hub_server import handler
from tests.sound import encode, tone

CARD = b"""---
configs:
- config_name: clean
  data_files:
  - split: test
    path: clean/test/*.parquet
---
"""
WRITE = """
import json, sys
import pyarrow, pyarrow.parquet
sounds = [{"bytes": open(path, "rb").read(), "path": "a"} for path in sys.argv[2:4]]
columns = json.loads(sys.argv[4]) | {"audio": sounds}
pyarrow.parquet.write_table(pyarrow.table(columns), sys.argv[1])
"""
FLEURS = """{"transcription": ["求救", "长"], "raw_transcription": ["求救。", "长。"],
             "language": ["Mandarin Chinese", "Mandarin Chinese"]}"""


@pytest.fixture
def quantizer():
    settings = Settings()
    return Quantizer(settings.quantizer_python, settings.quantizer_overlay)


@pytest.fixture
def parquet(tmp_path):
    """Bytes of a table with two recordings, of 1 s and of 31 s."""
    sounds = tmp_path / "1.flac", tmp_path / "31.flac"
    for sound in sounds:
        sound.write_bytes(encode(tone(int(sound.stem)), "flac", "flac"))

    def parquet(columns):
        path = tmp_path / "table.parquet"
        overlay = {"PYTHONPATH": str(Settings().quantizer_overlay)}
        command = [sys.executable, "-c", WRITE, path, *sounds, columns]
        subprocess.run(command, env=overlay, check=True)
        return path.read_bytes()

    return parquet


@pytest.fixture
def hub(tmp_path, monkeypatch, parquet):
    libri = {"README.md": CARD, "clean/test/0.parquet": parquet('{"text": ["ONE", "TWO"]}')}
    converted = {"cmn_hans_cn/test/0000.parquet": parquet(FLEURS)}
    sets = {
        "openslr/librispeech_asr": {"main": ("a" * 40, libri)},
        "google/fleurs": {
            "main": ("b" * 40, {"README.md": b"", "fleurs.py": b"raise"}),
            "refs/convert/parquet": ("c" * 40, converted),
        },
    }
    with serving(handler(sets)) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        yield


def test_a_set_of_parquet_is_copied(hub, quantizer, tmp_path):
    quantizer.copy("librispeech", "de", None, tmp_path / "copy")
    clips = list(recordings(tmp_path / "copy", "de"))
    assert [(clip.text, clip.language) for clip in clips] == [("one", "en"), ("two", "en")]
    assert clips[0].waveform().seconds == pytest.approx(1, abs=0.01)
    assert [clip.text for clip in recordings(tmp_path / "copy" / SHORT, "de")] == ["one"]


def test_a_set_of_a_script_is_copied_from_the_hubs_conversion(hub, quantizer, tmp_path):
    quantizer.copy("fleurs:cmn_hans_cn", "en", 1, tmp_path / "copy")
    (clip,) = recordings(tmp_path / "copy", "en")
    assert (clip.text, clip.language) == ("求救", "zh")


def test_a_part_that_the_hub_has_not_is_named(hub, quantizer, tmp_path):
    with pytest.raises(NoCalibration, match=r"fleurs:de_de was not copied: .*HF_ENDPOINT"):
        quantizer.copy("fleurs:de_de", "en", None, tmp_path / "copy")
