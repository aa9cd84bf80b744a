"""The page by keyboard, by screen readers, on a phone, in the dark and in Chinese."""

from importlib.resources import files

import pytest

from tests.page.conftest import opened, sound
from tests.page.test_main_path import texts

pytestmark = pytest.mark.page

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
FINDINGS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
  .map((one) => `${one.impact} ${one.id}: ${one.nodes.map((node) => node.target).join(" ")}`)"""


def findings(page):
    """What axe-core finds, of every weight."""
    package = pytest.importorskip("axe_playwright_python", reason="it is not installed: make env")
    page.evaluate((files(package.__name__) / "axe.min.js").read_text("utf-8"))
    return page.evaluate(FINDINGS)


@pytest.fixture(params=["light", "dark"])
def how(request):
    return {"color_scheme": request.param}


def test_the_first_view_has_nothing_that_axe_finds(page):
    page.get_by_text("More choices").click()
    assert findings(page) == []


def test_a_transcript_has_nothing_that_axe_finds(page):
    opened(page)
    page.get_by_text("engine", exact=True).click()
    assert findings(page) == []
    page.locator(".row .text").nth(0).dblclick()
    page.locator("#download summary").click()
    assert findings(page) == []


def test_dialogs_and_refusals_have_nothing_that_axe_finds(page, context):
    page.locator("#record").click()
    page.get_by_role("button", name="Discard").wait_for()
    assert findings(page) == []
    page.get_by_role("button", name="Discard").click()
    page.set_input_files("#files", [sound(11)])
    page.locator(".notice.bad").wait_for()
    assert findings(page) == []


class TestKeyboard:
    @pytest.fixture
    def how(self):
        return {}

    def test_all_is_done_without_a_pointer(self, page):
        opened(page)
        page.locator("#name").focus()
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.matches('p.text')"):
                break
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.keyboard.press("Control+a")
        page.keyboard.type("This is the Heron.")
        page.keyboard.press("Enter")
        assert texts(page)[1] == "This is the Heron."
        page.keyboard.press(" ")
        page.locator(".word.now").first.wait_for()
        page.keyboard.press("Control+z")
        assert texts(page)[1] == "This is the Silver Wave."

    def test_the_waveform_is_a_slider(self, page):
        opened(page)
        slider = page.get_by_role("slider", name="Place in the recording")
        slider.press("End")
        assert slider.get_attribute("aria-valuetext") == "0:03 of 0:03"
        slider.press("Home")
        assert slider.get_attribute("aria-valuenow") == "0.0"

    def test_the_content_is_one_step_away(self, page):
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"


class TestPhone:
    @pytest.fixture
    def how(self):
        return PHONE

    def test_nothing_is_wider_than_a_phone(self, page):
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert not page.evaluate(wide)
        opened(page, sound(name=f"{'a long name ' * 9}.wav"))
        assert not page.evaluate(wide)
        page.goto(f"{page.url.split('#')[0]}#/models")
        assert not page.evaluate(wide)

    def test_what_stays_in_sight_leaves_a_phone_to_the_text(self, page):
        opened(page, sound(name="long.wav"))
        page.locator(".row .text").nth(0).dblclick()
        page.locator("textarea.text").fill("Heard.")
        page.keyboard.press("Enter")  # there is something to undo
        assert page.locator(".deck").evaluate("(one) => one.offsetHeight") < 780 / 6

    def test_a_row_is_edited_by_touch(self, page):
        rows = opened(page)
        rows.nth(1).locator(".pencil").tap()
        page.locator("textarea.text").fill("Heard.")
        page.locator("#play").focus()
        assert texts(page)[1] == "Heard."

    def test_what_is_tapped_is_large_enough(self, page):
        opened(page)
        small = page.evaluate("""[...document.querySelectorAll("button, summary, select")]
          .filter((one) => one.offsetParent && Math.min(one.offsetWidth, one.offsetHeight) < 24)
          .map((one) => one.outerHTML)""")
        assert small == []


class TestChinese:
    @pytest.fixture
    def how(self):
        return {"locale": "zh-TW"}

    def test_a_browser_that_speaks_chinese_gets_a_chinese_page(self, page, transcriber):
        assert page.get_by_role("heading", level=1).text_content() == "把語音變成文字"
        assert page.evaluate("document.documentElement.lang") == "zh-Hant"
        transcriber.texts = ["今天天氣很好。", "我們去嘉義。"]
        opened(page)
        assert texts(page) == ["今天天氣很好。", "我們去嘉義。"]
        assert page.get_by_text("所有逐字稿").is_visible()

    def test_the_language_is_changed_and_stays_changed(self, page):
        page.get_by_label("頁面語言").select_option("English")
        page.get_by_role("heading", name="Turn speech into text").wait_for()
        page.reload()
        page.get_by_role("heading", name="Turn speech into text").wait_for()

    def test_an_edit_within_a_sentence_without_spaces_keeps_the_other_words(self, page):
        after = page.evaluate("""async () => {
          const {realign} = await import("./page/realign.js");
          const words = [..."今天天氣"].map((_, n) => (
            {from: n, to: n + 1, start: n, end: n + 1, p: 0.9}));
          return realign({text: "今天天氣", words, start: 0, end: 4}, "今天的天氣");
        }""")
        assert [(one["from"], one["start"], one["p"]) for one in after] == [
            (0, 0, 0.9), (1, 1, 0.9), (2, 2, None), (3, 2, 0.9), (4, 3, 0.9),
        ]  # fmt: skip


class TestChannels:
    @pytest.fixture
    def how(self):
        return {}

    def test_channels_are_named_in_all_rows_and_in_what_is_saved(self, page):
        open_with_a_name(page)
        assert set(page.locator(".speaker").all_text_contents()) == {"Channel 1", "Coast guard"}
        page.locator("#download summary").click()
        with page.expect_download() as begun:
            page.locator("[data-format=txt]").click()
        assert "Coast guard: Mayday, mayday, mayday." in begun.value.path().read_text("utf-8")
        page.locator("#undo").click()
        assert set(page.locator(".speaker").all_text_contents()) == {"Channel 1", "Channel 2"}


def open_with_a_name(page):
    """A recording whose channels are speakers, of which the second one is named."""
    page.get_by_text("More choices").click()
    page.get_by_label("One speaker on each channel").check()
    opened(page, {"name": "call.wav", "mimeType": "audio/wav", "buffer": two_channels()})
    page.get_by_text("Channel 2").first.click()
    page.locator(".speaker-name").fill("Coast guard")
    page.keyboard.press("Enter")


def two_channels():
    import numpy as np

    from tests.sound import encode_channels, tone

    return encode_channels(np.stack([tone(3), tone(3, 300)]))
