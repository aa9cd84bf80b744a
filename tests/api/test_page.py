"""The page's files over HTTP: who may have them, under which policy, and that all are there."""

import gzip
import re
import tomllib
from pathlib import Path
from urllib.parse import urljoin

import pytest

from app.api.page.files import STATIC, static_files

PAGES = ["/", "/docs", "/redoc"]
HEAVIEST = 300_000  # bytes, of all that the page loads
_LINK = re.compile(r'(?:href|src)="([^"#]+)"')
_IMPORT = re.compile(r'^(?:import|export) .*?from "([^"]+)";', re.MULTILINE)
OURS = [name for name in static_files() if not name.startswith("vendor/")]


@pytest.fixture
def settings():
    return {"api_keys": "first", "admin_key": "chief"}


def read(name):
    return (STATIC / name).read_text("utf-8")


def loaded(name="main.js"):
    """A module and those that it imports, all the way down."""
    found, todo = [], [name]
    while todo:
        module = todo.pop()
        if module not in found:
            found.append(module)
            todo += [urljoin(module, one) for one in _IMPORT.findall(read(module))]
    return found


def directives(answer):
    parts = answer.headers["content-security-policy"].split("; ")
    return {name: values for name, *values in map(str.split, parts)}


@pytest.mark.parametrize("path", PAGES)
def test_whoever_has_no_key_gets_the_page(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert client.head(path).status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_no_page_runs_scripts_that_are_not_files_of_ours(client, path):
    allowed = directives(client.get(path))
    assert allowed["script-src"] == ["'self'"]
    assert allowed["connect-src"] == ["'self'"]
    assert allowed["default-src"] == allowed["base-uri"] == allowed["frame-ancestors"] == ["'none'"]
    html = client.get(path).text
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style|javascript:", html)


def test_the_page_has_no_inline_styles_either(client):
    assert directives(client.get("/"))["style-src"] == ["'self'"]
    scripts = [read(name) for name in OURS if name.endswith(".js")]
    assert not any(re.search(r"cssText|innerHTML|\beval\(", one) for one in scripts)


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_elsewhere_and_all_they_name_is_there(client, path):
    for link in _LINK.findall(client.get(path).text):
        assert "//" not in link
        answer = client.get(urljoin(path, link))
        assert answer.status_code == 200, link
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_module_that_is_imported_is_there_and_every_one_is_loaded():
    modules = {name for name in OURS if name.endswith(".js") and not name.startswith("docs/")}
    assert set(loaded()) == modules


def test_the_page_weighs_little_with_all_that_it_loads(client):
    names = ["index.html", "style.css", "icon.svg", *loaded()]
    assert sum(len(static_files()[name].packed) for name in names) <= HEAVIEST


def test_a_file_goes_compressed_to_who_takes_it(client):
    plain = client.get("/page/style.css", headers={"accept-encoding": "identity"})
    packed = client.get("/page/style.css", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    assert packed.content == plain.content == (STATIC / "style.css").read_bytes()
    assert gzip.decompress(static_files()["style.css"].packed) == plain.content


def test_a_browser_asks_again_each_time_and_is_sent_what_it_has_not(client):
    first = client.get("/page/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/page/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/page/main.js", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/page/nothing.js", "/page/", "/page/../__init__.py", "/page/%2e%2e/files.py"]
)
def test_what_is_no_file_of_the_page_is_404_in_the_envelope(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_a_file_that_is_opened_by_itself_does_nothing(client):
    allowed = directives(client.get("/page/main.js"))
    assert allowed["default-src"] == ["'none'"]
    assert "sandbox" in allowed


def test_limits_are_told_before_a_recording_is_sent(client, context):
    answer = client.get("/page/limits")
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["max_upload_bytes"] == context.settings.max_upload_bytes
    assert told["max_audio_seconds"] == context.settings.max_audio_seconds
    assert told["needs_key"] is told["has_admin_key"] is True
    assert {"en", "zh"} < set(told["languages"])
    assert "first" not in answer.text


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_pages_are_only_read(client, method):
    answer = getattr(client, method)("/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_every_file_of_the_page_is_packaged():
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert project["packages"]["find"] == {"include": ["app*"], "namespaces": False}
    patterns = project["package-data"]["app.api.page"]
    packaged = {path for one in patterns for path in STATIC.parent.glob(one) if path.is_file()}
    assert packaged == {path for path in STATIC.rglob("*") if path.is_file()}


def test_every_file_of_the_page_is_served():
    assert set(static_files()) == {
        path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()
    }


def strings(name):
    return dict(re.findall(r'^  "?([\w.-]+)"?: "(.*)",$', read(f"strings/{name}.js"), re.MULTILINE))


def test_every_text_is_there_in_both_languages_with_the_same_places():
    english, chinese = strings("en"), strings("zh-hant")
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", chinese[key])), key


def test_every_text_that_is_asked_for_is_there_and_none_is_left_over():
    code = "".join(read(name) for name in OURS if name.endswith(".js") and "strings" not in name)
    asked = set(re.findall(r'\bt\(["`]([\w.-]+)["`]', code))
    prefixes = tuple(re.findall(r"\bt\(`([\w.-]+)\$\{", code))
    keys = set(strings("en"))
    assert asked <= keys
    named = set(re.findall(r'["`]([\w.-]+)["`]', code))
    assert {key for key in keys - named if not key.startswith(prefixes)} == {"itself"}


def test_a_module_of_the_page_is_read_in_one_go():
    ours = [name for name in OURS if name.endswith(".js") and "strings" not in name]
    assert {name for name in ours if len(read(name).splitlines()) > 350} == set()
    assert all(read(name).startswith("// ") for name in ours)
