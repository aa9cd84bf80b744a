"""The page before a real server."""

import pytest

from harness import chromium
from tests.engine.conftest import MAYDAY, MAYDAY_WORDS


@pytest.fixture
def page(server):
    pytest.importorskip("playwright", reason="playwright is not installed: make env")
    if not chromium.found():
        pytest.skip("no Chromium is found: apt-get install chromium")
    with chromium.browser() as browser:
        page = browser.new_page()
        page.goto(server.url)
        yield page


def test_a_recording_is_heard_and_its_words_are_where_they_are_said(page):
    page.set_input_files("#files", str(MAYDAY))
    page.locator("article:not(.busy) .row").first.wait_for()
    assert " ".join(page.locator(".row .text").all_text_contents()) == MAYDAY_WORDS
    page.get_by_text("lifeboat", exact=False).last.click()
    page.locator(".word.now", has_text="lifeboat").wait_for()
    assert float(page.locator(".waveform").get_attribute("aria-valuenow")) > 5
    page.get_by_text("of speech").first.wait_for()
