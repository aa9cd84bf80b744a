"""The pages name only files, anchors and rooms that there are."""

import re
from pathlib import Path

import pytest

from tests.test_imports import LEAVES, ROOMS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
_FILE = re.compile(r"`((?:app|tests|bench|tools|deploy|requirements)/[\w./-]*)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_ROOM = re.compile(r"^\| `(app/\w+)` \| .* \| ([\w., ]*)\|$", re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", sorted(set(_FILE.findall(ARCHITECTURE))))
def test_the_architecture_names_files_that_exist(path):
    assert (ROOT / path).exists()


def test_the_architecture_has_the_rooms_and_what_each_may_import():
    table = {
        room.replace("/", "."): {name for name in imports.strip().split(", ") if name}
        for room, imports in _ROOM.findall(ARCHITECTURE)
    }
    assert table == ROOMS


def test_the_architecture_names_every_leaf():
    assert {f"app.{path.stem}" for path in map(Path, _FILE.findall(ARCHITECTURE))} >= LEAVES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_pages_and_headings_that_exist(page):
    for link in _LINK.findall(page.read_text("utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_make_targets_that_exist(page):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"`make ([a-z-]+)", page.read_text("utf-8")):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
