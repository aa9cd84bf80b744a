"""What the server refuses is told in its own words, and the recording is kept."""

import asyncio

import pytest

from app.errors import EngineDied, TooManyRequests
from app.serving.lifecycle import Stage
from tests.audio.test_timeline import film
from tests.page.conftest import give, kept, opened, sound
from tests.page.test_main_path import spoken, texts

pytestmark = pytest.mark.page


def refused(page):
    notice = page.locator(".notice.bad")
    notice.wait_for()
    return notice.text_content()


def test_a_busy_server_says_so_and_the_file_can_be_sent_again(page, context, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            context.state, "place", raising(TooManyRequests("Full house.", retry_after=7))
        )
        give(page, sound())
        assert "Full house. There should be room in 7 s." in refused(page)
    page.locator("#again").click()
    page.locator("article:not(.busy) .row").first.wait_for()
    assert texts(page) == spoken()
    assert page.locator(".notice").count() == 0


def raising(error):
    def place(*_, **__):
        raise error

    return place


def test_a_server_that_is_not_ready_says_so(page, context):
    context.state.default.lifecycle.enter(Stage.LOADING, "the weights")
    page.reload()
    page.get_by_text("The server is not ready yet: the weights").wait_for()
    context.state.default.lifecycle.enter(Stage.READY)
    page.locator(".notice").wait_for(state="hidden")


def test_an_error_in_a_stream_keeps_what_was_heard(page, transcriber):
    transcriber.error, transcriber.fails_at = EngineDied("It fell over."), 1
    give(page, sound())
    assert "It fell over." in refused(page)
    assert page.locator("#again").is_visible()


def test_a_file_without_sound_is_told_as_the_server_tells_it(page):
    give(page, {"name": "notes.mp4", "mimeType": "video/mp4", "buffer": b"none of it" * 99})
    assert "audio" in refused(page)
    assert page.locator("#again").count() == 0


def test_a_video_without_sound_is_told_as_the_server_tells_it(page):
    silent = film(defaults=()).getvalue()
    give(page, {"name": "silent.mkv", "mimeType": "video/x-matroska", "buffer": silent})
    assert "audio" in refused(page)


# As large as the page believes it to be: a browser gives a file's size without reading the file.
TEN_GIGABYTES = """async () => {
  const file = new File(["x"], "days.wav", {type: "audio/wav"});
  Object.defineProperty(file, "size", {value: 10e9});
  const [transcript] = (await import("./page/queue.js")).add([file], {});
  location.hash = `#/transcript/${transcript.id}`;
}"""


def test_ten_gigabytes_are_told_before_they_are_sent(page):
    asked = []
    page.on("request", lambda request: asked.append(request.method))
    page.evaluate(TEN_GIGABYTES)
    assert "The file is 10 GB; this server takes at most" in refused(page)
    assert "POST" not in asked


def test_a_recording_that_is_too_long_is_told_as_the_server_tells_it(page):
    give(page, sound(11))
    assert "10" in refused(page)
    assert page.locator("#again").count() == 0


class TestSmallLimit:
    @pytest.fixture
    def settings(self):
        return {"max_upload_bytes": 50_000}

    def test_a_file_that_is_too_large_is_told_before_it_is_sent(self, page, transcriber):
        asked = []
        page.on("request", lambda request: asked.append(request.method))
        give(page, sound(4))
        assert "this server takes at most 50 kB. Nothing was sent." in refused(page)
        assert "POST" not in asked
        assert page.locator("#again").count() == 0


class TestKeys:
    @pytest.fixture
    def settings(self):
        return {"api_keys": "first"}

    def test_a_key_is_asked_for_where_one_is_needed_and_kept_for_the_tab(self, page):
        give(page, sound())
        page.locator("#key").fill("wrong")
        page.get_by_role("button", name="Continue").click()
        page.get_by_text("The key is not known to this server.").wait_for()
        page.locator("#key").fill("first")
        page.keyboard.press("Enter")
        page.locator("article:not(.busy) .row").first.wait_for()
        assert texts(page) == spoken()
        assert page.evaluate("Object.values(sessionStorage)") == ["first"]
        assert "first" not in page.evaluate("Object.values(localStorage)")

    def test_who_gives_no_key_keeps_the_file(self, page):
        give(page, sound())
        page.locator("#key").wait_for()
        page.keyboard.press("Escape")
        assert "key" in refused(page)
        page.locator("#again").click()
        page.locator("#key").fill("first")
        page.keyboard.press("Enter")
        page.locator(".row").first.wait_for()

    def test_a_large_file_is_not_sent_before_the_key_is_given(self, page, context):
        sent = []
        page.on(
            "request",
            lambda one: one.method == "POST" and sent.append(len(one.post_data_buffer or b"")),
        )
        give(page, sound(40, rate=96000))
        page.locator("#key").wait_for()
        assert sent == [0]


def test_a_server_that_is_gone_is_told(page):
    page.route("**/v1/audio/**", lambda route: route.abort())
    give(page, sound())
    assert "The server cannot be reached." in refused(page)


def test_a_model_that_gives_words_no_times_is_heard_all_the_same(page, transcriber):
    transcriber.capabilities = transcriber.capabilities.__class__(
        frozenset({"en"}), word_times=False
    )
    opened(page)
    assert texts(page) == spoken()
    page.locator(".time").nth(1).click()
    page.locator(".row.now", has_text="Silver").wait_for()


def test_what_is_stopped_can_be_begun_again(page, transcriber):
    transcriber.gate = asyncio.Event()
    give(page, sound())
    page.locator("#stop").click()
    assert "Stopped before its end." in refused(page)
    transcriber.gate = None
    page.locator("#again").click()
    page.locator("article:not(.busy) .row").first.wait_for()


def test_a_page_that_was_closed_in_the_middle_says_so(page, transcriber):
    transcriber.gate = asyncio.Event()
    give(page, sound())
    page.locator("#stop").wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    assert "The page was closed before the end was heard." in refused(page)


def edit(page, text):
    page.locator(".row .text").nth(0).dblclick()
    page.locator("textarea.text").fill(text)
    page.keyboard.press("Enter")


@pytest.fixture
def other(page, window):
    """The same transcript in another tab."""
    opened(page)
    kept(page)
    other = window.new_page()
    other.goto(page.url)
    other.locator(".row").first.wait_for()
    return other


def test_what_one_tab_changes_the_other_shows(page, other):
    edit(other, "Theirs.")
    page.locator(".row").nth(0).get_by_text("Theirs.").wait_for()


DRAWN = """async () => (await (await import("./page/store.js")).all())[0].peaks !== null"""


def test_what_another_tab_changes_leaves_the_waveform_that_this_one_draws(page, other):
    edit(other, "Theirs.")
    kept(other)
    page.locator(".row").nth(0).get_by_text("Theirs.").wait_for()
    kept(page)
    assert page.evaluate(DRAWN)


def test_two_tabs_that_both_change_do_not_overwrite_each_other(page, other):
    edit(other, "Theirs.")
    page.locator(".row").nth(0).get_by_text("Theirs.").wait_for()
    edit(page, "Ours.")
    other.get_by_text("Another tab has changed this transcript.").wait_for()
    other.get_by_role("button", name="Keep this one").click()
    page.get_by_text("Another tab has changed this transcript.").wait_for()
    page.get_by_role("button", name="Show that one").click()
    page.locator(".row").nth(0).get_by_text("Theirs.").wait_for()


class TestRecording:
    def test_what_the_microphone_hears_is_transcribed(self, page):
        page.locator("#record").click()
        page.get_by_text("0:01").wait_for()
        page.get_by_role("button", name="Finish and transcribe").click()
        page.locator("article:not(.busy) .row").first.wait_for()
        assert texts(page) == spoken()

    def test_a_browser_without_a_microphone_is_told(self, page):
        none = "() => Promise.reject(new DOMException('', 'NotFoundError'))"
        page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {none}; }}")
        page.locator("#record").click()
        assert "No microphone was found." in refused(page)
