"""The page in a real Chromium, before a service whose model says what a test has it say."""

from dataclasses import replace

import pytest

from app.main import build_app
from app.models.base import Word
from harness import chromium
from tests.api.conftest import (  # noqa: F401  fixtures
    FakeDecoder,
    context,
    decoders,
    serving,
    settings,
    words_of,
)
from tests.sound import encode, tone

PATIENCE = 60_000  # ms: what is waited for at most; no test passes or fails by how long it takes
SENTENCES = [" Mayday, mayday, mayday.", " This is the Silver Wave.", " Our engine is on fire."]


class Uncertain(FakeDecoder):
    """Is unsure of the word "Silver"."""

    def __init__(self):
        super().__init__()
        self.texts = list(SENTENCES)

    async def align(self, result, segments):
        return tuple(replace(one, words=tuple(map(doubted, words_of(one)))) for one in segments)


def doubted(word):
    return Word(word.start_ms, word.end_ms, word.text, 0.2 if "Silver" in word.text else 0.9)


@pytest.fixture
def transcriber():
    return Uncertain()


@pytest.fixture(scope="session")
def browser():
    pytest.importorskip("playwright", reason="playwright is not installed: make env")
    if not chromium.found():
        pytest.skip("no Chromium is found: apt-get install chromium")
    with chromium.browser() as browser:
        yield browser


@pytest.fixture
def url(context):  # noqa: F811
    with serving(build_app(context)) as url:
        yield url


@pytest.fixture
def how():
    """How the browser is set up; override it in a module."""
    return {}


@pytest.fixture
def window(browser, how):
    """A browser without a past."""
    window = browser.new_context(**{"locale": "en-GB"} | how)
    window.set_default_timeout(PATIENCE)
    yield window
    window.close()


@pytest.fixture
def page(window, url):
    """The page as it is opened first. A test fails where the page's code does, where its policy
    refuses something, and where a request leaves the origin."""
    page, faults = window.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console", lambda said: "Content Security Policy" in said.text and faults.append(said.text)
    )
    page.on(
        "request",
        lambda asked: asked.url.startswith((url, "blob:", "data:")) or faults.append(asked.url),
    )
    page.goto(url)
    page.get_by_role("heading", level=1).wait_for()
    yield page
    assert faults == []


def sound(seconds=3, name="call.wav", **how):
    """A recording, as a browser's file chooser takes it."""
    return {"name": name, "mimeType": "audio/wav", "buffer": encode(tone(seconds), **how)}


def give(page, *files):
    """Choose recordings on the first view."""
    page.set_input_files("#files", list(files))


def opened(page, *files):
    """The rows of a recording that is given and heard to its end."""
    give(page, *(files or [sound()]))
    page.locator("article:not(.busy) .row").first.wait_for()
    return page.locator(".row")


KEPT = """async () => {
  const {isKept} = await import("./page/library.js");
  while (!isKept()) await new Promise((resolve) => setTimeout(resolve, 20));
}"""


def kept(page):
    """Wait until what was changed is kept."""
    page.evaluate(KEPT)
