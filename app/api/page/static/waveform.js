// Draws a recording: its waveform, and under it where speech is and where it has no text.

import { clock } from "./format.js";
import { t } from "./i18n.js";
import { el } from "./dom.js";

const STRIP = 5; // CSS pixels at the foot, which show where speech is
const [BAR, GAP] = [2, 1];
const STEP = 5; // seconds an arrow key moves

/** The waveform of a transcript, on which a place is chosen by pointer and by keys. */
export class Waveform {
  constructor(transcript, onSeek) {
    this.transcript = transcript;
    this.onSeek = onSeek;
    this.at = 0;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.element = el("div", {
      class: "waveform", role: "slider", tabindex: "0", "aria-label": t("waveform"), "aria-valuemin": "0",
      onpointerdown: (event) => this.#grab(event), onkeydown: (event) => this.#key(event),
    }, this.canvas);
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.element);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.dark.addEventListener("change", this.redraw);
  }

  close() {
    this.watch.disconnect();
    this.dark.removeEventListener("change", this.redraw);
  }

  /** The end of what is known: of the recording, or of what was heard so far. */
  get duration() {
    return Math.max(this.transcript.duration, this.transcript.rows.at(-1)?.end ?? 0);
  }

  move(seconds) {
    this.at = seconds;
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width) return;
    const scale = devicePixelRatio || 1;
    this.canvas.width = width * scale;
    this.canvas.height = height * scale;
    const context = this.canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(this.element);
    const color = (name) => style.getPropertyValue(name).trim();
    this.#bars(context, width, height - STRIP, color);
    this.#strip(context, width, height - STRIP, color);
    this.#head(context, width, height, color);
    this.#tell();
  }

  #bars(context, width, height, color) {
    const { peaks } = this.transcript;
    const [middle, room] = [(height - 6) / 2, (height - 10) / 2];
    const played = this.duration ? (this.at / this.duration) * width : 0;
    const [before, behind] = [color("--accent"), color("--wave")];
    for (let x = 0; x < width; x += BAR + GAP) {
      const half = Math.max(1, peaks ? (room * loudest(peaks, x / width, (x + BAR + GAP) / width)) / 255 : 1);
      context.fillStyle = x < played ? before : behind;
      context.fillRect(x, middle - half, BAR, 2 * half);
    }
  }

  #strip(context, width, top, color) {
    context.fillStyle = color("--line");
    context.fillRect(0, top, width, STRIP);
    if (!this.duration) return;
    const stretch = (start, end, fill) => {
      context.fillStyle = fill;
      context.fillRect((start / this.duration) * width, top, Math.max(1, ((end - start) / this.duration) * width), STRIP);
    };
    const [speech, bad] = [color("--speech"), color("--bad")];
    for (const row of this.transcript.rows) stretch(row.start, row.end, speech);
    for (const lost of this.transcript.coverage?.dropped ?? []) stretch(lost.start, lost.end, bad);
  }

  #head(context, width, height, color) {
    if (!this.duration) return;
    context.fillStyle = color("--ink");
    context.fillRect(Math.min(width - 1.5, (this.at / this.duration) * width), 0, 1.5, height);
  }

  #tell() {
    this.element.setAttribute("aria-valuemax", this.duration.toFixed(1));
    this.element.setAttribute("aria-valuenow", Math.min(this.at, this.duration).toFixed(1));
    this.element.setAttribute("aria-valuetext", t("waveform.at", { at: clock(this.at), of: clock(this.duration) }));
  }

  #grab(event) {
    this.element.setPointerCapture(event.pointerId);
    const seek = ({ clientX }) => {
      const { left, width } = this.element.getBoundingClientRect();
      this.onSeek(Math.min(1, Math.max(0, (clientX - left) / width)) * this.duration);
    };
    seek(event);
    this.element.addEventListener("pointermove", seek);
    const end = () => this.element.removeEventListener("pointermove", seek);
    this.element.addEventListener("pointerup", end, { once: true });
    this.element.addEventListener("pointercancel", end, { once: true });
  }

  #key(event) {
    const steps = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -60, PageUp: 60 };
    const to = { Home: 0, End: this.duration }[event.key] ?? (event.key in steps ? this.at + steps[event.key] : null);
    if (to === null) return;
    event.preventDefault();
    event.stopPropagation();
    this.onSeek(Math.min(this.duration, Math.max(0, to)));
  }
}

function loudest(peaks, from, to) {
  let most = 0;
  for (let i = Math.floor(from * peaks.length); i < Math.max(to * peaks.length, from * peaks.length + 1) && i < peaks.length; i++) {
    most = Math.max(most, peaks[i]);
  }
  return most;
}
