"""What the page is for: a recording goes in, its text is read, heard, corrected and saved."""

import json
import re

import pytest

from tests.page.conftest import PATIENCE, SENTENCES, give, kept, opened, sound
from tests.sound import encode, tone

pytestmark = pytest.mark.page

DROP = """([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "audio/wav"}));
  document.getElementById("drop").dispatchEvent(
    new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
}"""

# Waits for them in the page: Playwright's own waiting takes a promise for an answer.
PEAKS = """async () => {
  const { all } = await import("./page/library.js");
  for (;;) {
    const [transcript] = await all();
    if (transcript.peaks) return [...transcript.peaks];
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}"""


def texts(page):
    return page.locator(".row .text").all_text_contents()


def spoken():
    return [text.strip() for text in SENTENCES]


def test_words_of_a_recording_that_is_dropped_appear_as_they_are_heard(page, transcriber):
    page.evaluate(DROP, ["call.wav", list(encode(tone(3)))])
    page.locator("article:not(.busy) .row").first.wait_for()
    assert texts(page) == spoken()
    page.locator(".word").first.wait_for()
    assert page.locator(".row").first.locator(".word").all_text_contents()[:2] == [
        "Mayday,",
        "mayday,",
    ]
    assert page.locator("#name").input_value() == "call.wav"


def test_a_folder_is_dropped_with_what_is_in_its_folders(page, tmp_path):
    """As a hand drops it: the browser reads the folder itself."""
    folder = tmp_path / "calls"
    (folder / "monday").mkdir(parents=True)
    for name in ("first.wav", "monday/second.wav"):
        (folder / name).write_bytes(encode(tone(3)))
    (folder / "notes.txt").write_text("none of it")
    drop(page, folder)
    page.locator(".card").nth(1).wait_for()
    names = page.locator(".card-name").all_text_contents()
    assert sorted(names) == ["first.wav", "second.wav"]


def drop(page, path):
    box = page.locator("#drop").bounding_box()
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    devtools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        at = {"x": box["x"] + 20, "y": box["y"] + 20}
        devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})


def test_a_row_is_there_before_the_next_is_heard(page, transcriber):
    transcriber.texts = SENTENCES[:1]
    opened(page)
    assert texts(page) == spoken()[:1]


def test_a_click_on_a_word_seeks_and_lights_it_up(page):
    opened(page)
    page.get_by_text("engine", exact=True).click()
    lit = page.locator(".word.now")
    lit.wait_for()
    at = page.evaluate("document.querySelector('.waveform').ariaValueNow")
    assert float(at) >= 2.1
    assert page.locator("#play").get_attribute("aria-label") == "Pause"


LIT = """() => {
  globalThis.lit = [];
  new MutationObserver(() => {
    const text = document.querySelector(".word.now")?.textContent;
    if (text && text !== lit.at(-1)) lit.push(text);
  }).observe(document.getElementById("rows"), {subtree: true, attributeFilter: ["class"]});
}"""


def test_words_light_up_one_after_the_other_as_it_plays(page):
    opened(page)
    page.evaluate(LIT)
    page.locator("#play").click()
    page.wait_for_function("() => lit.includes('fire.')")
    lit = page.evaluate("lit")
    rest = iter(" ".join(spoken()).split())
    assert all(word in rest for word in lit)  # in their order, none of them made up


def test_a_click_on_the_waveform_seeks(page):
    opened(page)
    box = page.locator(".waveform").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)
    page.locator(".row.now", has_text="Silver Wave").wait_for()


def test_the_waveform_is_drawn_from_what_the_recording_holds(page):
    opened(page)
    peaks = page.evaluate(PEAKS)
    assert max(peaks) == 255
    assert sum(peaks) / len(peaks) > 100


# Notes what was on the page, and how long ago the recording was sent, when its waveform began.
NOTE_DRAWING = """() => {
  const {send} = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.send = function (body) {
    globalThis.sentAt = performance.now();
    return send.call(this, body);
  };
  const {decodeAudioData} = OfflineAudioContext.prototype;
  OfflineAudioContext.prototype.decodeAudioData = function (...given) {
    const rows = document.querySelectorAll(".row").length;
    globalThis.drawn = {rows, ms: performance.now() - globalThis.sentAt};
    return decodeAudioData.apply(this, given);
  };
}"""


def test_the_first_text_goes_before_the_waveform_for_a_second(page):
    page.evaluate(NOTE_DRAWING)
    opened(page)
    page.evaluate(PEAKS)
    drawn = page.evaluate("drawn")
    assert drawn["rows"] or drawn["ms"] >= 1000


def test_an_edit_survives_a_reload_with_the_times_of_the_words_that_stayed(page):
    rows = opened(page)
    rows.nth(1).locator(".text").dblclick()
    page.locator("textarea.text").fill("This is the Golden Wave.")
    page.keyboard.press("Enter")
    assert texts(page)[1] == "This is the Golden Wave."
    kept(page)
    page.reload()
    rows.nth(2).wait_for()
    assert texts(page) == [spoken()[0], "This is the Golden Wave.", spoken()[2]]
    page.get_by_text("Wave.", exact=True).click()
    page.locator(".word.now", has_text="Wave.").wait_for()


def test_what_was_edited_is_undone_and_done_again(page):
    rows = opened(page)
    rows.nth(0).hover()
    rows.nth(0).locator(".pencil").click()
    page.locator("textarea.text").fill("Help!")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+z")
    assert texts(page)[0] == spoken()[0]
    page.locator("#redo").click()
    assert texts(page)[0] == "Help!"


def test_escape_leaves_a_row_as_it_was(page):
    rows = opened(page)
    rows.nth(0).locator(".text").dblclick()
    page.locator("textarea.text").fill("Nothing")
    page.keyboard.press("Escape")
    assert texts(page) == spoken()
    assert page.locator("#undo").is_disabled()


def saved(page, ending):
    page.locator("#download summary").click()
    with page.expect_download() as begun:
        page.locator(f"[data-format={ending}]").click()
    assert begun.value.suggested_filename == f"call.{ending}"
    return begun.value.path().read_text("utf-8")


def test_subtitles_are_saved_with_what_was_edited(page):
    rows = opened(page)
    rows.nth(0).locator(".text").dblclick()
    page.locator("textarea.text").fill("Mayday!")
    page.keyboard.press("Enter")
    srt = saved(page, "srt")
    assert srt.startswith("1\n00:00:00,000 --> 00:00:00,900\nMayday!\n\n2\n00:00:01,000 --> ")
    assert saved(page, "vtt").startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.900\nMayday!\n")


def test_text_and_json_are_saved_whole(page):
    opened(page)
    assert saved(page, "txt").splitlines() == spoken()
    body = json.loads(saved(page, "json"))
    assert [one["text"] for one in body["segments"]] == spoken()
    assert body["words"][0]["word"] == "Mayday,"
    assert body["words"][0]["probability"] == pytest.approx(0.9)
    assert body["language"] == "en"


def test_words_that_the_model_is_unsure_of_are_marked_and_gone_to(page):
    opened(page)
    page.locator(".word.unsure").wait_for()
    assert page.locator(".word.unsure").all_text_contents() == ["Silver"]
    page.locator("#unsure").click()
    page.locator(".word.now", has_text="Silver").wait_for()
    assert "Unsure: Silver" in page.locator("#announcer").text_content()


def test_several_recordings_are_heard_one_after_the_other(page):
    give(page, sound(name="one.wav"), sound(name="two.wav"))
    page.locator(".card", has_text="two.wav").get_by_text("English").wait_for()
    assert page.locator(".card").count() == 2
    page.get_by_role("link", name="one.wav").click()
    page.locator(".row").first.wait_for()
    assert texts(page) == spoken()


def test_a_transcript_is_deleted_when_that_is_confirmed(page):
    opened(page)
    page.get_by_role("link", name="All transcripts").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete call.wav").click()
    page.locator(".library").wait_for(state="hidden")


def test_what_is_chosen_is_asked_for_and_kept(page, transcriber):
    page.get_by_label("Spoken language").select_option("zh-TW")
    page.get_by_label("Names and words to expect").fill("Silver Wave, 鷺")
    page.get_by_text("More choices").click()
    page.get_by_label("Text that came before").fill("Channel sixteen.")
    opened(page)
    (asked,) = transcriber.asked
    assert asked.languages == ("zh",)
    assert re.search("Channel sixteen.*", asked.prompt) or asked.prompt
    assert "Silver Wave" in str(asked)
    page.goto(page.url.split("#")[0])
    assert page.get_by_label("Names and words to expect").input_value() == "Silver Wave, 鷺"


def test_a_transcript_without_speech_says_so(page, transcriber):
    transcriber.texts = []
    give(page, sound())
    page.get_by_text("no speech was found").wait_for(timeout=PATIENCE)


def test_the_recording_is_there_to_be_played_after_a_reload(page):
    opened(page)
    kept(page)
    page.reload()
    page.locator("#play:not([disabled])").click()
    page.locator(".word.now").first.wait_for()
