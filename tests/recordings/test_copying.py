"""A hub's set as a folder, to measure by."""

import pytest

from app.recordings import copying
from app.recordings.read import read, recordings
from app.recordings.spec import Recordings
from tests.recordings.test_hub import LONG, SHORT, row


def test_a_copy_is_a_folder_of_recordings_and_a_proofs_are_the_short_ones(hub, tmp_path):
    hub(row(LONG, text="ONE"), row(text="TWO"), row(text="THREE"))
    assert copying.copy("librispeech", "de", 2, tmp_path) == 2
    long, short = recordings(tmp_path, "de")
    assert (long.text, long.language, long.content()) == ("one", "en", LONG)
    assert (short.text, short.content()) == ("two", SHORT)
    judged = read(Recordings(sources=str(tmp_path / copying.SHORT), samples=None))
    assert [clip.text for clip in judged] == ["two"]


@pytest.mark.parametrize("rows", [(), ({"audio": {"bytes": None, "path": "/etc/hostname"}},)])
def test_what_cannot_be_copied_says_why_in_the_last_line(hub, tmp_path, capsys, rows):
    hub(*rows)
    assert copying.main("librispeech", "en", "0", str(tmp_path)) == 1
    assert "librispeech" in capsys.readouterr().err.splitlines()[-1]
