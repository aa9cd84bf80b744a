"""The page in a real Chromium: what it weighs, how soon it shows the first text beside the API, and
how a transcript of four hours opens and scrolls."""

import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from bench.options import parser
from harness import chromium
from harness.server import DEMO, Server

MAYDAY = DEMO / "recordings" / "radio.mp3"
WORDS, WORDS_A_ROW, SECONDS = 40_000, 10, 4 * 3600
STEPS = 150  # of scrolling, one a frame
FLICK, LEAP = 200, 720  # pixels a frame: a fast flick (12,000 a second), and a screen
SLOW_FRAME_MS = 50

_KEEP = """async ([words, of, seconds]) => {
  const {newTranscript} = await import("./page/transcript.js");
  const store = await import("./page/store.js");
  const rows = Array.from({length: words / of}, (_, n) => {
    const [start, texts] = [n * seconds * of / words, []];
    const step = seconds / words;
    const own = Array.from({length: of}, (_, i) => {
      const from = texts.join(" ").length + (i ? 1 : 0);
      texts.push(["fishing", "boat", "is", "drifting", "toward", "rocks"][(n + i) % 6]);
      const to = texts.join(" ").length;
      return {from, to, start: start + i * step, end: start + (i + 1) * step, p: i % 9 ? 0.9 : 0.3};
    });
    return {start, end: start + of * step, text: texts.join(" "), who: null, words: own};
  });
  const peaks = Uint8Array.from({length: 2000}, (_, n) => 60 + 190 * Math.abs(Math.sin(n)));
  const known = {status: "done", duration: seconds, peaks, rows};
  const whole = {...newTranscript("four hours.wav", {}), ...known};
  await store.keep(whole);
  return whole.id;
}"""
# From the navigation's start to the frame behind the one in which the last row is there.
_OPENED = """(rows) => new Promise((resolve) => {
  const isThere = () => document.querySelectorAll(".row").length === rows
    && document.querySelector(".word");
  const look = () => isThere()
    ? requestAnimationFrame(() => setTimeout(() => resolve(performance.now())))
    : setTimeout(look, 4);
  look();
})"""
_SCROLLED = """([pixels, steps]) => new Promise((resolve) => {
  const frames = [];
  let last = null;
  const step = (now) => {
    if (last !== null) frames.push(now - last);
    last = now;
    if (frames.length === steps) return resolve(frames);
    scrollBy(0, pixels);
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""
# From the choice of a file to the frame that shows a row.
_FIRST_ROW = """() => new Promise((resolve) => {
  new MutationObserver((_, watch) => {
    if (!document.querySelector(".row")) return;
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begun)));
  }).observe(document.body, {childList: true, subtree: true});
  document.getElementById("files").addEventListener(
    "input", () => { begun = performance.now(); }, {capture: true});
})"""


def main(argv: Sequence[str] | None = None) -> None:
    rounds = parser("bench.page", __doc__, rounds=15).parse_args(argv).rounds
    with Server(cache_dir=None) as server, chromium.browser() as browser:
        show("What the page loads", [weight(browser, server.url)])
        show(f"{WORDS:,} words", long_transcript(browser, server.url, rounds))
        show("First text of radio.mp3", first_text(browser, server.url, rounds))


def show(title: str, rows: Sequence[tuple[str, str]]) -> None:
    table = Table(title=title)
    table.add_column("")
    table.add_column("", justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def weight(browser: Any, url: str) -> tuple[str, str]:
    """The bytes of all bodies that a first visit loads, as they came."""
    context = browser.new_context()
    page = context.new_page()
    devtools, sizes = context.new_cdp_session(page), []
    devtools.send("Network.enable")
    devtools.on("Network.loadingFinished", lambda told: sizes.append(told["encodedDataLength"]))
    page.goto(url, wait_until="networkidle")
    context.close()
    return f"{len(sizes)} answers, heads and compressed bodies", f"{sum(sizes) / 1000:.1f} kB"


def long_transcript(browser: Any, url: str, rounds: int) -> list[tuple[str, str]]:
    opened, flicked, leapt, empty, spent = [], [], [], [], []
    for _ in range(rounds):
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(url)
        name = page.evaluate(_KEEP, [WORDS, WORDS_A_ROW, SECONDS])
        page.goto("about:blank")
        page.goto(f"{url}/#/transcript/{name}")
        opened.append(page.evaluate(_OPENED, WORDS // WORDS_A_ROW))
        page.wait_for_timeout(1000)  # the recording is looked for, and not found
        devtools = context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = processor_seconds(devtools)
        flicked += page.evaluate(_SCROLLED, [FLICK, STEPS])
        leapt += page.evaluate(_SCROLLED, [LEAP, STEPS])
        spent.append((processor_seconds(devtools) - before) / (2 * STEPS))
        page.goto(f"{url}/page/limits")
        page.evaluate("document.body.style.height = '400000px'")
        empty += page.evaluate(_SCROLLED, [FLICK, STEPS])
        context.close()
    return [
        ("opens, from the address to the last row, median", f"{statistics.median(opened):.0f} ms"),
        ("the slowest", f"{max(opened):.0f} ms"),
        *smoothness(f"scrolls by {FLICK} pixels a frame", flicked),
        *smoothness(f"scrolls by {LEAP} pixels a frame", leapt),
        *smoothness(f"an empty page, by {FLICK} pixels a frame", empty),
        (
            "processor time of the page's thread, mean a frame, the worst round",
            f"{1000 * max(spent):.1f} ms",
        ),
    ]


def processor_seconds(devtools: Any) -> float:
    """What the page's thread has spent so far: others on the machine do not count."""
    told = devtools.send("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in told if one["name"] == "TaskDuration")


def smoothness(what: str, frames: list[float]) -> list[tuple[str, str]]:
    slow = sum(one > SLOW_FRAME_MS for one in frames)
    return [
        (f"{what}: a frame, median", f"{statistics.median(frames):.1f} ms"),
        ("the slowest", f"{max(frames):.1f} ms"),
        (f"over {SLOW_FRAME_MS} ms", f"{slow} of {len(frames)}"),
    ]


def first_text(browser: Any, url: str, rounds: int) -> list[tuple[str, str]]:
    """The API's and the page's, in turn: each asks for the words of segments, streamed."""
    api, shown = [], []
    for _ in range(rounds + 1):  # the first of each is not counted
        api.append(first_delta(url))
        shown.append(first_row(browser, url))
    before, after = (statistics.median(times[1:]) for times in (api, shown))
    return [
        ("the API's first delta, median", f"{1000 * before:.0f} ms"),
        ("the page's first row, median", f"{1000 * after:.0f} ms"),
        ("page / API", f"{after / before:.2f}"),
    ]


def first_delta(url: str) -> float:
    """Seconds from a request to its first delta."""
    fields = {
        "stream": "true",
        "response_format": "verbose_json",
        "timestamp_granularities[]": "word",
    }
    begun = time.perf_counter()
    ask: dict[str, Any] = {"files": {"file": MAYDAY.read_bytes()}, "data": fields, "timeout": 60}
    with httpx.stream("POST", f"{url}/v1/audio/transcriptions", **ask) as answer:
        lines = answer.iter_lines()
        for line in lines:
            if line.startswith("data: ") and json.loads(line[6:])["type"].endswith("delta"):
                break
        seconds = time.perf_counter() - begun
        for _ in lines:
            pass
    return seconds


def first_row(browser: Any, url: str) -> float:
    """Seconds from a file's choice to the frame that shows its first row."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url, wait_until="networkidle")
    page.evaluate(f"globalThis.begun = 0; void (globalThis.first = ({_FIRST_ROW})())")
    page.set_input_files("#files", str(MAYDAY))
    ms = page.evaluate("first")
    page.locator("article:not(.busy)").wait_for()
    context.close()
    return float(ms) / 1000


if __name__ == "__main__":
    main()
