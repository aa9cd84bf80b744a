"""Takes the pictures of docs/pictures: python -m tests.page.pictures

The service is real and serves the demo, which hears clips of its own kind, one behind the other;
jobs are those of the tests.
"""

import io
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from app.api.context import Context
from app.main import build_app
from app.metrics import Metrics
from app.settings import Settings
from harness import chromium
from harness.server import DEMO, Server
from tests.api.conftest import serving
from tests.api.test_quantize import FakeQuantizing
from tests.page.conftest import kept
from tests.sound import encode, silence

PICTURES = Path(__file__).resolve().parent.parent.parent / "docs" / "pictures"
CLIPS = sorted((DEMO / "recordings" / "test").glob("*.ogg"))[:40:4]
WIDE: dict[str, Any] = {"viewport": {"width": 1040, "height": 720}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 780},
    "has_touch": True,
    "is_mobile": True,
}
DELETE_ALL = """async () => {
  const {jobs, remove} = await import("./page/background.js");
  for (const job of (await jobs()).data) await remove(job);
}"""
COLOURS = 128  # of a picture: enough for text and flat colours, in a third of the bytes


def main() -> None:
    with Server() as server, chromium.browser() as browser:
        first_view(browser, server.url)
        for name, how in (
            ("transcript", WIDE),
            ("transcript-dark", WIDE | {"color_scheme": "dark"}),
        ):
            transcript(browser, server.url, name, how)
        chinese_phone(browser, server.url)
        docs(browser, server.url)
        for name, how in (("jobs", WIDE), ("phone-jobs", PHONE | {"locale": "zh-TW"})):
            jobs(browser, server.url, name, how)
        models(browser)


def first_view(browser: Any, url: str) -> None:
    page = browser.new_context(**WIDE).new_page()
    page.goto(url, wait_until="networkidle")
    save(page, "first-view")


def transcript(browser: Any, url: str, name: str, how: dict[str, Any]) -> None:
    page = browser.new_context(**how).new_page()
    page.goto(url)
    heard(page)
    box = page.locator(".waveform").bounding_box()
    page.mouse.click(box["x"] + 0.31 * box["width"], box["y"] + 20)
    save(page, name)


@cache
def talk() -> dict[str, Any]:
    """A recording of several clips with pauses between them, as a file chooser takes it."""
    parts = [part for clip in CLIPS for part in (samples(clip), silence(0.8))]
    content = encode(np.concatenate(parts))
    return {"name": "Channel 16, morning.wav", "mimeType": "audio/wav", "buffer": content}


def samples(clip: Path) -> Any:
    with av.open(str(clip)) as container:
        resampler = av.AudioResampler("flt", "mono", 16000)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def heard(page: Any) -> None:
    page.set_input_files("#files", [talk()])
    page.locator("article:not(.busy) .row .word").first.wait_for()
    kept(page)
    page.wait_for_timeout(500)  # the waveform's turn


def chinese_phone(browser: Any, url: str) -> None:
    page = browser.new_context(**PHONE, locale="zh-TW").new_page()
    page.goto(url, wait_until="networkidle")
    save(page, "phone-chinese")
    heard(page)
    save(page, "phone-transcript")


def docs(browser: Any, url: str) -> None:
    page = browser.new_context(**WIDE).new_page()
    for name in ("docs", "redoc"):
        page.goto(f"{url}/{name}", wait_until="networkidle")
        page.get_by_text("/v1/audio/transcriptions").first.wait_for()
        save(page, name)


def jobs(browser: Any, url: str, name: str, how: dict[str, Any]) -> None:
    """One is done; one that takes longer is begun, and shown as it runs."""
    page = browser.new_context(**how).new_page()
    page.goto(f"{url}/#/jobs")
    page.locator("#jobs li").first.wait_for()
    page.evaluate(DELETE_ALL)  # of a run that was cut short
    page.reload()
    page.locator("#jobs li").first.wait_for()
    page.set_input_files("#job-files", [talk()])
    page.locator(".job", has_text="morning").locator(".badge.completed").wait_for()
    page.set_input_files("#job-files", [talk() | {"name": "Channel 16, all day.wav"} | long_talk()])
    running = page.locator(".job", has_text="all day")
    running.get_by_text("left").or_(running.get_by_text("約剩")).wait_for()
    save(page, name)
    page.evaluate(DELETE_ALL)


@cache
def long_talk() -> dict[str, Any]:
    """The talk ten times over."""
    parts = [part for clip in CLIPS for part in (samples(clip), silence(0.8))]
    return {"buffer": encode(np.tile(np.concatenate(parts), 10))}


def models(browser: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(models="marine=here", admin_key="chief", max_upload_bytes=10**6)
        context = Context(settings, Metrics())
        context.quantization = quantizing = FakeQuantizing(Path(folder))
        with serving(build_app(context)) as url:
            page = browser.new_context(**WIDE).new_page()
            page.goto(f"{url}/#/models")
            page.locator("#key").wait_for()
            save(page, "key")
            page.locator("#key").fill("chief")
            page.keyboard.press("Enter")
            for name in ("rejected", "openai/whisper-small"):
                page.locator("#order-model").fill(name)
                page.get_by_role("button", name="Make and prove").click()
                page.locator(".job", has_text=name).wait_for()
            quantizing.go.set()
            page.locator(".badge.proven").wait_for()
            page.locator("#jobs-title").scroll_into_view_if_needed()
            page.mouse.wheel(0, 2000)
            page.wait_for_timeout(300)
            save(page, "models")
            page.goto(url)
            page.set_input_files("#files", [talk() | {"name": "too large.wav"}])
            page.locator(".notice.bad").wait_for()
            save(page, "refused")


def save(page: Any, name: str) -> None:
    """As a small PNG."""
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    PICTURES.mkdir(exist_ok=True)
    taken.quantize(COLOURS).save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
