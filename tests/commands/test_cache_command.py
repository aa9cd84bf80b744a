"""marlinscribe cache: told, asked, and then deleted."""

import io
import json

import pytest

import app.commands.cache
from app.checkpoints.recipe import Recipe
from app.checkpoints.store import Store
from app.cli import main
from app.jobs import Job, JobStatus, Records
from app.sources.resolve import resolve
from app.sources.source import Source
from tests.checkpoint_files import write_checkpoint
from tests.sources.small_whisper import save_ctranslate2, tensors


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MARLINSCRIBE_CACHE_DIR", str(folder))
    monkeypatch.setenv("MARLINSCRIBE_MODEL", "demo")
    monkeypatch.setenv("MARLINSCRIBE_QUANTIZATION", "rtn")
    monkeypatch.setenv("MARLINSCRIBE_DEVICE", "cpu")
    return folder


@pytest.fixture
def made(cache, tmp_path):
    """A checkpoint that the settings ask for, and one that nobody does."""
    source = tmp_path / "source"
    source.mkdir()
    write_checkpoint(source)

    def fill(out):
        (out / "model.safetensors").write_bytes(b"weights")
        return {}

    def entry(name):
        recipe = Recipe(method="rtn", dtype="bfloat16")
        of = {"of": name}
        return Store(cache).get_or_make(Source(name, source, ""), recipe, of, fill).folder

    return entry("marine-radio"), entry("other")


def run(capsys, *arguments):
    """The status, and what was printed: standard output, and the rest."""
    status = main(["cache", *arguments])
    told = capsys.readouterr()
    return status, told.out, " ".join(told.err.split())


def test_a_list_has_every_checkpoint_and_who_needs_it(made, capsys):
    status, out, _ = run(capsys, "list", "--json")
    listed = {one["name"]: one for one in json.loads(out)}
    assert (status, len(listed)) == (0, 2)
    assert (listed["marine-radio"]["needed"], listed["other"]["needed"]) == ("serves", None)
    assert listed["other"]["folder"] == str(made[1])
    status, out, _ = run(capsys, "list")
    assert status == 0
    for one in listed.values():
        assert one["fingerprint"] in out


def test_a_list_has_converted_sources_with_what_they_are_made_of(cache, tmp_path, capsys):
    mine = save_ctranslate2(tmp_path / "mine", tensors())
    folder = resolve(str(mine), cache).folder
    (row,) = json.loads(run(capsys, "list", "--json")[1])
    assert row["size"] == sum(path.stat().st_size for path in folder.iterdir())
    facts = {name: row[name] for name in ("kind", "name", "origin", "folder", "needed", "in_use")}
    assert facts == {"kind": "source", "name": "mine", "origin": str(mine), "folder": str(folder),
                     "needed": None, "in_use": False}  # fmt: skip
    assert "mine" in run(capsys, "list")[1]
    assert str(mine) in run(capsys, "prune", "--dry-run")[2]
    assert run(capsys, "prune", "--yes")[0] == 0
    assert not folder.exists()


def test_of_an_empty_cache_there_is_nothing_to_tell(cache, capsys):
    assert run(capsys, "list", "--json")[:2] == (0, "[]\n")
    assert "Nothing may go" in run(capsys, "prune")[2]


def test_a_dry_run_tells_and_deletes_nothing(made, capsys):
    status, _, told = run(capsys, "prune", "--dry-run")
    assert status == 0
    assert made[1].name in told
    assert made[0].name not in told
    assert all(folder.exists() for folder in made)


def test_with_yes_what_nobody_needs_is_deleted_unasked(made, capsys):
    status, _, told = run(capsys, "prune", "--yes")
    assert status == 0
    assert "are free again" in told
    assert [folder.exists() for folder in made] == [True, False]


def test_where_nobody_can_be_asked_nothing_is_deleted(made, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    status, _, told = run(capsys, "prune")
    assert status == 1
    assert "--yes" in told
    assert made[1].exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "deleted"), [("y", True), ("n", False), ("", False)])
def test_before_it_deletes_it_asks(made, capsys, monkeypatch, answer, deleted):
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    status, _, _ = run(capsys, "prune")
    assert (status == 0) == deleted
    assert made[1].exists() != deleted


def test_what_cannot_be_deleted_is_told_and_the_rest_goes(made, capsys, monkeypatch):
    real = app.commands.cache.remove

    def remove(one, cache):
        if one.kind == "checkpoint":
            raise PermissionError(13, "Permission denied", str(one.path))
        return real(one, cache)

    (made[0].parent / ".x-1.damaged").mkdir()
    monkeypatch.setattr(app.commands.cache, "remove", remove)
    status, _, told = run(capsys, "prune", "--yes")
    assert status == 1
    assert "you may not open or change it" in told
    assert not (made[0].parent / ".x-1.damaged").exists()


def test_jobs_are_left_to_the_server_that_has_them(cache, made, capsys):
    server = Records(cache / "jobs")
    server.save(Job("qjob_1", {}, "", JobStatus.FAILED)).result()
    server.take()
    status, _, told = run(capsys, "prune", "--all-but-serving", "--yes")
    assert status == 0
    assert "DELETE /quantize/ID/record" in told
    assert (cache / "jobs" / "qjob_1.json").exists()
    server.leave()
    assert run(capsys, "prune", "--all-but-serving", "--yes")[0] == 0
    assert not (cache / "jobs" / "qjob_1.json").exists()


@pytest.mark.parametrize("days", ["-1", "nan", "soon"])
def test_a_number_of_days_that_is_none_is_refused(capsys, days):
    with pytest.raises(SystemExit) as ended:
        main(["cache", "prune", "--older-than", days])
    assert ended.value.code == 2
    assert "number of days" in capsys.readouterr().err
