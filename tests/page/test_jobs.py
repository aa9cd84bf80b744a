"""The view of transcriptions in the background."""

import asyncio
import io
import json
import wave

import httpx
import pytest

from app.errors import EngineDied
from tests.api.conftest import serving
from tests.background.conftest import SPEECH, app_of
from tests.page.conftest import give, kept, sound
from tests.page.test_everybody import PHONE, findings
from tests.page.test_main_path import spoken, texts

pytestmark = pytest.mark.page


@pytest.fixture
def settings(tmp_path):
    return {"cache_dir": tmp_path / "cache"}


@pytest.fixture
def url(context):
    with serving(app_of(context), lifespan="on") as url:
        yield url


@pytest.fixture
def jobs(page):
    """The view, open."""
    page.locator("#tabs a[href='#/jobs']").click()
    page.locator("#jobs li").first.wait_for()
    return page


def send(page, *files):
    page.set_input_files("#job-files", list(files or [sound()]))


def done(page, name="call.wav"):
    """A job's element, once the job is done."""
    job = page.locator("#jobs .job", has_text=name)
    job.locator(".badge.completed").wait_for()
    return job


def submitted(url, key=None, **fields):
    """A job that a program begins, without any word times asked for."""
    files = {"file": ("program.wav", sound()["buffer"])}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = httpx.post(
        url + SPEECH, files=files, data={"background": "true"} | fields, headers=headers
    )
    return answer.json()["id"]


def test_a_file_is_sent_as_a_job_and_its_transcript_opened_where_it_can_be_played(jobs):
    send(jobs)
    done(jobs).get_by_role("button", name="Open call.wav").click()
    jobs.locator("article:not(.busy) .row .word").first.wait_for()
    assert texts(jobs) == spoken()
    jobs.get_by_text("engine", exact=True).click()
    jobs.locator(".word.now").wait_for()
    kept(jobs)
    jobs.reload()
    jobs.locator(".row").nth(2).wait_for()
    assert texts(jobs) == spoken()


def test_a_job_that_a_program_began_is_listed_and_opens_with_times_of_words(page, url):
    submitted(url)
    page.locator("#tabs a[href='#/jobs']").click()
    done(page, "program.wav").get_by_role("button", name="Open program.wav").click()
    page.locator(".word.unsure", has_text="Silver").wait_for()
    assert texts(page) == spoken()
    page.get_by_text("The recording is not kept here.").wait_for()


class Gate:
    """Holds a decoder in the server's thread until a test opens the gate."""

    def __init__(self):
        self.is_open = False

    async def wait(self):
        while not self.is_open:
            await asyncio.sleep(0.01)


@pytest.fixture
def gate(transcriber):
    transcriber.gate = Gate()
    yield transcriber.gate
    transcriber.gate.is_open = True


def running(page, name="call.wav"):
    """A job's element, once the job is under way."""
    job = page.locator("#jobs .job", has_text=name)
    job.locator(".badge.in_progress").wait_for()
    return job


def test_a_job_is_watched_until_its_text_is_there(jobs, gate):
    send(jobs)
    running(jobs).get_by_role("button", name="Watch call.wav").click()
    jobs.locator("article.busy").wait_for()
    assert jobs.locator("#stop").is_hidden()
    gate.is_open = True
    jobs.locator("article:not(.busy) .row").nth(2).wait_for()
    assert texts(jobs) == spoken()


def test_a_job_goes_on_when_its_tab_is_closed_and_is_found_again(jobs, gate, window, url):
    send(jobs)
    running(jobs)
    kept(jobs)
    other = window.new_page()
    jobs.close()
    gate.is_open = True
    other.goto(url)
    other.locator(".card", has_text="call.wav").get_by_text("In the background").wait_for()
    other.locator("#tabs a[href='#/jobs']").click()
    done(other)
    other.goto(url)
    other.get_by_role("link", name="call.wav").click()
    other.locator("article:not(.busy) .row").nth(2).wait_for()
    assert texts(other) == spoken()


def test_a_recording_that_is_dropped_is_a_job_where_that_is_chosen(page):
    page.get_by_label("Transcribe in the background").select_option("All recordings")
    give(page, sound(name="short.wav"))
    done(page, "short.wav")
    assert page.url.endswith("#/jobs")


class TestLong:
    @pytest.fixture
    def settings(self, tmp_path):
        return {"cache_dir": tmp_path / "cache", "max_audio_seconds": 4000}

    def test_a_recording_over_half_an_hour_is_a_job_unless_somebody_says_otherwise(self, page):
        give(page, quiet(31))
        done(page, "31 minutes.wav")
        assert page.url.endswith("#/jobs")
        page.goto(page.url.split("#")[0])
        page.get_by_label("Transcribe in the background").select_option("None")
        give(page, quiet(31))
        page.locator("article:not(.busy) .row").first.wait_for()

    def test_of_several_recordings_only_the_long_ones_are_jobs(self, page):
        give(page, quiet(31), quiet(29), sound())
        page.get_by_text("Taken in as jobs, because they are long: 1.").wait_for()
        page.locator(".card", has_text="29 minutes.wav").get_by_text("English").wait_for()
        page.locator(".told").get_by_role("link", name="Jobs").click()
        done(page, "31 minutes.wav")
        assert page.locator("#jobs .job").count() == 1

    class TestChinese:
        @pytest.fixture
        def how(self):
            return {"locale": "zh-TW"}

        def test_it_is_told_in_chinese_too(self, page):
            page.get_by_label("在背景轉錄").get_by_text("超過 30 分鐘的錄音").wait_for(
                state="attached"
            )
            give(page, quiet(31), sound())
            page.get_by_text("因為較長，改在背景轉錄：1 個。").wait_for()


def quiet(minutes):
    """A recording without a sound, of 8 bits at 8 kHz."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(b"\x80" * 8000 * 60 * minutes)
    name = f"{minutes} minutes.wav"
    return {"name": name, "mimeType": "audio/wav", "buffer": content.getvalue()}


DIVIDED = """async ([size, seconds]) => {
  const {divided} = await import("./page/long.js");
  const file = new File(["no sound"], "a.mkv");
  Object.defineProperty(file, "size", {value: size});
  if (seconds) file.seconds = seconds; // as the microphone's recordings have them
  return (await divided([file])).jobs.length;
}"""


@pytest.mark.parametrize(
    ("size", "seconds", "jobs"), [(2e8, 0, 1), (5e7, 0, 0), (5e6, 1801, 1), (5e8, 1799, 0)]
)
def test_what_no_browser_can_tell_the_length_of_goes_by_its_size(page, size, seconds, jobs):
    assert page.evaluate(DIVIDED, [size, seconds]) == jobs


@pytest.mark.parametrize("ending", ["srt", "vtt", "txt", "docx", "json"])
def test_a_transcript_is_downloaded_without_being_opened(jobs, ending):
    send(jobs)
    job = done(jobs)
    job.locator("summary").click()
    with jobs.expect_download() as begun:
        job.locator(f"[data-format={ending}]").click()
    assert begun.value.suggested_filename == f"call.{ending}"
    content = begun.value.path().read_bytes()
    if ending == "json":
        assert [one["text"] for one in json.loads(content)["segments"]] == spoken()
    elif ending == "txt":
        assert content.decode().splitlines() == spoken()
    else:
        assert content.startswith(
            {"srt": b"1\n00:00:00,000", "vtt": b"WEBVTT", "docx": b"PK"}[ending]
        )


def test_a_transcript_is_downloaded_with_what_was_edited_in_it(jobs):
    send(jobs)
    done(jobs).get_by_role("button", name="Open call.wav").click()
    jobs.locator("article:not(.busy) .row .text").first.dblclick()
    jobs.locator("textarea.text").fill("Help.")
    jobs.keyboard.press("Enter")
    jobs.locator("#tabs a[href='#/jobs']").click()
    done(jobs).locator("summary").click()
    with jobs.expect_download() as begun:
        jobs.locator("[data-format=txt]").click()
    assert begun.value.path().read_text("utf-8").startswith("Help.\n")


def test_a_job_is_deleted_when_that_is_confirmed(jobs, url):
    send(jobs)
    jobs.on("dialog", lambda dialog: dialog.accept())
    done(jobs).get_by_role("button", name="Delete call.wav").click()
    jobs.get_by_text("None yet.").wait_for()
    assert httpx.get(url + SPEECH).json()["data"] == []


def test_a_job_that_is_not_over_is_cancelled(jobs, gate, url):
    send(jobs)
    jobs.on("dialog", lambda dialog: dialog.accept())
    running(jobs).get_by_role("button", name="Cancel call.wav").click()
    jobs.get_by_text("None yet.").wait_for()
    assert httpx.get(url + SPEECH).json()["data"] == []


def test_a_job_that_failed_says_why(jobs):
    send(jobs, {"name": "call.wav", "mimeType": "audio/wav", "buffer": b"nothing of it" * 99})
    jobs.locator(".lost", has_text="audio").wait_for()


def test_a_transcript_whose_job_is_gone_says_so(jobs, gate, url):
    send(jobs)
    running(jobs).get_by_role("button", name="Watch call.wav").click()
    jobs.locator("article.busy").wait_for()
    job = httpx.get(url + SPEECH).json()["data"][0]["id"]
    httpx.delete(f"{url}{SPEECH}/{job}")
    jobs.locator(".notice.bad", has_text="The server has this job no longer.").wait_for()


def test_batches_and_their_files_are_listed_and_saved(jobs, url):
    lines = b'{"custom_id": "a", "method": "GET"}\n'
    asked = {"files": {"file": ("lines.jsonl", lines)}, "data": {"purpose": "batch"}}
    file = httpx.post(f"{url}/v1/files", **asked).json()["id"]
    order = {"input_file_id": file, "endpoint": SPEECH, "completion_window": "24h"}
    assert httpx.post(f"{url}/v1/batches", json=order).status_code == 200
    jobs.reload()
    jobs.locator("#batches .badge").wait_for()
    with jobs.expect_download() as begun:
        jobs.locator("#files .job", has_text="lines.jsonl").get_by_role("button").click()
    assert begun.value.path().read_bytes() == lines


class TestEverybody:
    @pytest.fixture(params=["light", "dark"])
    def how(self, request):
        return {"color_scheme": request.param}

    def test_the_view_has_nothing_that_axe_finds(self, jobs):
        assert findings(jobs) == []
        send(jobs)
        done(jobs).locator("summary").click()
        assert findings(jobs) == []

    def test_a_job_under_way_has_nothing_that_axe_finds(self, jobs, gate):
        send(jobs, sound(), sound(name="two.wav"))
        running(jobs)
        assert findings(jobs) == []


class TestKeyboard:
    def test_a_job_is_opened_without_a_pointer(self, jobs):
        send(jobs)
        done(jobs).get_by_role("button", name="Open call.wav").focus()
        jobs.keyboard.press("Enter")
        jobs.locator(".row").first.wait_for()

    def test_who_is_at_a_button_stays_there_as_a_job_goes_on(self, jobs, gate):
        send(jobs)
        running(jobs).get_by_role("button", name="Watch call.wav").focus()
        gate.is_open = True
        done(jobs)
        assert jobs.evaluate("document.activeElement.closest('.job') !== null")


class TestPhone:
    @pytest.fixture
    def how(self):
        return PHONE

    def test_nothing_is_wider_than_a_phone(self, jobs):
        send(jobs, sound(name=f"{'a-long-name-' * 9}.wav"))
        done(jobs, "a-long-name")
        assert not jobs.evaluate("document.documentElement.scrollWidth > innerWidth")


class TestChinese:
    @pytest.fixture
    def how(self):
        return {"locale": "zh-TW"}

    def test_the_view_is_in_chinese(self, jobs):
        assert jobs.get_by_role("heading", level=1).text_content() == "工作"
        send(jobs)
        done(jobs).get_by_text("完成").wait_for()


class TestKeys:
    @pytest.fixture
    def settings(self, tmp_path):
        return {"cache_dir": tmp_path / "cache", "api_keys": "first,second"}

    def test_a_key_is_asked_for_and_shows_its_own_jobs_alone(self, page, url):
        submitted(url, "second")
        page.locator("#tabs a[href='#/jobs']").click()
        page.locator("#key").fill("first")
        page.keyboard.press("Enter")
        page.get_by_text("None yet.").wait_for()
        send(page)
        done(page)


class TestSmallLimit:
    @pytest.fixture
    def settings(self, tmp_path):
        return {"cache_dir": tmp_path / "cache", "max_upload_bytes": 50_000}

    def test_a_file_that_is_too_large_is_told_before_it_is_sent(self, jobs):
        send(jobs, sound(4))
        jobs.get_by_text("this server takes at most 50 kB. Nothing was sent.").wait_for()
        upload = jobs.locator("#uploads .job")
        assert upload.get_by_role("button").all_text_contents() == ["Dismiss"]
        upload.get_by_role("button").click()
        upload.wait_for(state="detached")


def test_a_job_that_ends_in_an_error_of_the_engine_says_so(jobs, transcriber):
    transcriber.error = EngineDied("It fell over.")
    send(jobs)
    jobs.locator("#jobs .job .badge.failed").wait_for()
    jobs.get_by_text("It fell over.").wait_for()
