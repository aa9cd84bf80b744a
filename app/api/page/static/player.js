// Plays a recording; the page's own controls stand in for the browser's.

import { clock } from "./format.js";
import { t } from "./i18n.js";
import { el, icon } from "./dom.js";

const RATES = [0.75, 1, 1.25, 1.5, 2];

/** A player. `onTime` is called with the seconds on every frame while it plays and after every seek. */
export class Player {
  constructor(onTime) {
    this.audio = new Audio();
    this.audio.preload = "none";
    this.onTime = onTime;
    this.at = 0; // seconds: also where there is no recording to play
    this.button = el("button", { class: "button round main", id: "play", onclick: () => this.toggle() });
    this.time = el("span", { class: "clock" });
    this.rate = el("select", { class: "rate", "aria-label": t("player.speed"), onchange: () => this.#setRate() },
      RATES.map((rate) => el("option", { value: rate, selected: rate === 1 }, `${rate}×`)));
    for (const event of ["play", "pause", "ended"]) this.audio.addEventListener(event, () => this.#showState());
    this.audio.addEventListener("seeked", () => this.#tick());
    this.audio.addEventListener("loadedmetadata", () => this.#findEnd());
    this.#showState();
  }

  get hasSound() {
    return Boolean(this.audio.src);
  }

  /** Take in a recording. Nothing of it is read until it is played, or `prepare` is called. */
  load(file) {
    this.unload();
    this.url = URL.createObjectURL(file);
    this.audio.src = this.url;
    this.#showState();
  }

  /** Read how long the recording is, which playing needs first. What is here needs no more. */
  prepare() {
    this.audio.preload = "metadata";
  }

  unload() {
    this.audio.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
  }

  toggle() {
    if (!this.hasSound) return;
    if (this.audio.paused) this.audio.play().catch(() => {});
    else this.audio.pause();
  }

  seek(seconds, { play = false } = {}) {
    this.at = Math.max(0, seconds);
    if (this.hasSound) {
      this.audio.currentTime = this.at;
      if (play) this.audio.play().catch(() => {});
    }
    this.#tell();
  }

  step(seconds) {
    this.seek(this.at + seconds);
  }

  show(duration) {
    this.duration = duration;
    this.time.textContent = `${clock(this.at)} / ${clock(duration)}`;
  }

  /** What a browser records has no length until somebody goes to its end. */
  #findEnd() {
    if (this.audio.duration !== Infinity) return;
    this.audio.currentTime = 1e9;
    this.audio.addEventListener("timeupdate", () => {
      this.audio.currentTime = this.at;
    }, { once: true });
  }

  #setRate() {
    this.audio.playbackRate = Number(this.rate.value);
  }

  #showState() {
    const playing = !this.audio.paused;
    this.button.replaceChildren(icon(playing ? "pause" : "play"));
    this.button.setAttribute("aria-label", t(playing ? "player.pause" : "player.play"));
    this.button.disabled = !this.hasSound;
    if (playing) requestAnimationFrame(() => this.#frame());
  }

  #frame() {
    this.#tick();
    if (!this.audio.paused) requestAnimationFrame(() => this.#frame());
  }

  #tick() {
    if (this.audio.currentTime > 1e8) return; // looking for the end
    this.at = this.audio.currentTime;
    this.#tell();
  }

  #tell() {
    this.show(this.duration);
    this.onTime(this.at);
  }
}
