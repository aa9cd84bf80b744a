"""A transcript as a Word document, which is made in the browser."""

import zipfile
from xml.etree import ElementTree

import pytest

from tests.page.conftest import opened
from tests.page.test_everybody import open_with_a_name

pytestmark = pytest.mark.page

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
REQUIRED = {"[Content_Types].xml", "_rels/.rels", "word/document.xml", "word/styles.xml"}


def document(page):
    """The document that the page saves, as a zip file whose checksums are right."""
    page.locator("#download summary").click()
    with page.expect_download() as begun:
        page.locator("[data-format=docx]").click()
    assert begun.value.suggested_filename == "call.docx"
    archive = zipfile.ZipFile(begun.value.path())
    assert archive.testzip() is None
    return archive


def paragraphs(archive):
    for name in archive.namelist():
        ElementTree.fromstring(archive.read(name))
    root = ElementTree.fromstring(archive.read("word/document.xml"))
    several = root.iter(f"{WORD}p")
    return ["".join(one.text for one in each.iter(f"{WORD}t")) for each in several]


def test_a_document_has_its_parts_and_a_paragraph_a_row_with_its_time(page, transcriber):
    transcriber.texts = [" 5 < 6 & \x01so on.", " 今天天氣很好。"]
    opened(page)
    archive = document(page)
    assert set(archive.namelist()) >= REQUIRED
    assert paragraphs(archive) == ["call.wav", "0:00  5 < 6 & so on.", "0:01  今天天氣很好。"]


def test_a_document_says_who_speaks_where_another_begins(page):
    open_with_a_name(page)
    said = paragraphs(document(page))[1:]
    assert said[0].startswith("0:00  Channel 1: ")
    assert said[1].startswith("0:00  Coast guard: ")
