// A transcript's view: it is played, read, corrected and saved here, also while it is still heard.

import { hearJob } from "./background.js";
import { announce, el, icon, menu } from "./dom.js";
import { download, FORMATS, plain } from "./exports.js";
import { clock, seconds } from "./format.js";
import { facts } from "./home.js";
import { t } from "./i18n.js";
import * as library from "./library.js";
import { Player } from "./player.js";
import * as queue from "./queue.js";
import { Rows } from "./rows.js";
import { isFinal } from "./server.js";
import { Edits, isUnsure } from "./transcript.js";
import { Waveform } from "./waveform.js";

const STEP = 5; // seconds
const PREPARED_AFTER = 100; // ms: the text is on the screen by then

/** Show a transcript in `root`; what to call when it is left. */
export async function show(root, id) {
  const transcript = await library.get(id);
  if (!transcript) {
    root.append(el("p", { class: "notice" }, t("transcript.gone")), el("a", { class: "button", href: "#/" }, t("transcript.back")));
    return () => {};
  }
  const view = new Editor(transcript);
  root.append(view.element);
  view.start();
  return () => view.close();
}

class Editor {
  constructor(transcript) {
    this.transcript = transcript;
    this.stop = new AbortController();
    this.player = new Player((at) => this.#at(at));
    this.waveform = new Waveform(transcript, (at) => this.player.seek(at));
    this.edits = new Edits(transcript, (row) => this.#changed(row));
    this.rows = new Rows(transcript, {
      seek: (row, word) => this.#seek(row, word),
      setText: (row, text) => this.edits.setText(row, text),
      rename: (who, name) => this.edits.rename(who, name),
    });
    this.status = el("span", {});
    this.stopButton = el("button", { class: "button link", id: "stop", hidden: true, onclick: () => queue.stop(this.transcript) }, t("stop"));
    this.notices = el("div", { class: "notices" });
    this.ledger = el("div", { class: "ledger" });
    this.element = el("article", { class: "transcript" }, this.#head(), this.notices, this.#deck(), this.ledger, this.rows.element);
  }

  start() {
    const { signal } = this.stop;
    const mine = (work) => ({ detail }) => {
      if (detail === this.transcript || detail === this.transcript.id) work();
    };
    queue.queue.addEventListener("heard", mine(() => this.#heardSoon()), { signal });
    queue.queue.addEventListener("progress", mine(() => this.#progress()), { signal });
    library.library.addEventListener("conflict", (event) => event.detail === this.transcript.id && this.#conflict(event), { signal });
    library.library.addEventListener("unkept", mine(() => this.#notice("unkept", t("transcript.unkept"))), { signal });
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#loadSound();
    this.#progress();
    hearJob(this.transcript, () => this.#heardSoon(), signal);
  }

  close() {
    this.stop.abort();
    this.player.unload();
    this.waveform.close();
    this.rows.close();
  }

  #head() {
    this.name = el("input", { class: "name", id: "name", value: this.transcript.name, "aria-label": t("transcript.name"), onchange: () => {
      this.transcript.name = this.name.value.trim() || this.transcript.name;
      this.name.value = this.transcript.name;
      library.saveSoon(this.transcript);
    } });
    this.download = menu(t("download"), [
      ...Object.keys(FORMATS).map((ending) => el("button", { "data-format": ending, onclick: () => download(this.transcript, ending) }, t(`download.${ending}`))),
      el("button", { onclick: () => this.#copy() }, t("copy")),
    ]);
    this.download.id = "download";
    return el("div", { class: "head" }, el("h1", { class: "unseen" }, this.transcript.name), el("a", { class: "back", href: "#/" }, `‹ ${t("transcript.back")}`), this.name,
      el("div", { class: "status-line" }, el("p", { class: "status quiet" }, this.status, " ", this.stopButton), this.download));
  }

  /** What stays in sight while the text scrolls: the player, the waveform, the tools. */
  #deck() {
    this.undoButton = el("button", { class: "button bare", id: "undo", "aria-label": t("undo"), title: `${t("undo")} (Ctrl+Z)`, onclick: () => this.edits.undo() }, icon("undo"));
    this.redoButton = el("button", { class: "button bare", id: "redo", "aria-label": t("redo"), title: `${t("redo")} (Ctrl+Shift+Z)`, onclick: () => this.edits.redo() }, icon("redo"));
    this.unsure = el("button", { class: "button bare", id: "unsure", hidden: true, title: t("unsure.why"), onclick: () => this.#nextUnsure() });
    return el("div", { class: "deck" },
      this.waveform.element,
      el("div", { class: "tools" },
        this.player.button, this.player.time, this.player.rate,
        el("span", { class: "space" }), this.unsure, this.undoButton, this.redoButton));
  }

  async #loadSound() {
    const file = await library.recording(this.transcript.id);
    if (this.stop.signal.aborted) return;
    if (file) this.player.load(file);
    else this.#notice("no-sound", t("transcript.no-sound"), this.#attachButton());
  }

  #attachButton() {
    const input = el("input", { type: "file", accept: "audio/*,video/*", class: "unseen", tabindex: "-1", "aria-label": t("transcript.attach"), onchange: async () => {
      await library.attach(this.transcript.id, input.files[0]);
      this.#dropNotice("no-sound");
      this.#loadSound();
    } });
    return el("span", {}, input, el("button", { class: "button", onclick: () => input.click() }, t("transcript.attach")));
  }

  /** A notice of its kind, in place of the one before. */
  #notice(kind, text, ...more) {
    this.#dropNotice(kind);
    const bad = kind === "failed" || kind === "conflict" ? " bad" : "";
    this.notices.append(el("div", { class: `notice${bad}`, role: bad ? "alert" : "status", "data-kind": kind }, el("p", {}, text), ...more));
  }

  #dropNotice(kind) {
    this.notices.querySelector(`[data-kind="${kind}"]`)?.remove();
  }

  /** Several rows may come at once: they are shown together. */
  #heardSoon() {
    if (this.soon) return;
    this.soon = true;
    queueMicrotask(() => {
      this.soon = false;
      this.#heard();
    });
  }

  /** Other rows have come. The window follows where its end was in sight. */
  #heard() {
    const { documentElement: page } = document;
    const follows = page.scrollHeight - scrollY - innerHeight < 160 && scrollY > 0;
    this.#progress();
    if (follows) scrollTo({ top: page.scrollHeight });
  }

  #progress() {
    const { status, error } = this.transcript;
    if (this.rows.of !== this.transcript.rows) this.#startAgain();
    const isSent = library.isUnderWay(this.transcript);
    const busy = isSent || status === "background";
    const silent = status === "done" && !this.transcript.rows.length;
    this.status.textContent = facts(this.transcript) + (silent ? ` · ${t("transcript.silent")}` : "");
    this.stopButton.hidden = !isSent;
    this.element.classList.toggle("busy", busy);
    this.#dropNotice("failed");
    if (status === "failed") this.#notice("failed", wordsOf(error), isFinal(error) ? null : this.#againButton());
    this.rows.sync();
    this.waveform.draw();
    this.player.show(this.waveform.duration);
    this.#showLedger();
    this.#showTools();
    if (status !== this.lastStatus && (status === "done" || status === "failed")) announce(status === "done" ? t("announce.done", { name: this.transcript.name }) : wordsOf(error));
    this.lastStatus = status;
    this.#prepare();
  }

  /** Sending a recording goes before reading it here, and so does its first text. */
  #prepare() {
    if (this.isPrepared || (!this.transcript.rows.length && library.isUnderWay(this.transcript))) return;
    this.isPrepared = true;
    setTimeout(() => this.stop.signal.aborted || this.player.prepare(), PREPARED_AFTER);
  }

  #startAgain() {
    this.rows.close();
    const fresh = new Rows(this.transcript, this.rows.actions);
    this.rows.element.replaceWith(fresh.element);
    this.rows = fresh;
  }

  #againButton() {
    return el("button", { class: "button", id: "again", onclick: () => queue.again(this.transcript) }, t("again"));
  }

  /** What became of the speech: seconds of it, and each place that has no text. */
  #showLedger() {
    const { coverage } = this.transcript;
    this.ledger.replaceChildren();
    if (!coverage || (!coverage.speech && !coverage.dropped.length)) return; // the status says that there is none
    const lost = coverage.dropped.reduce((sum, one) => sum + one.end - one.start, 0);
    const speech = `${t("ledger.speech", { n: seconds(coverage.speech) })} · `;
    const again = coverage.decoded_again ? ` · ${t("ledger.again")}` : "";
    if (!coverage.dropped.length) {
      this.ledger.append(el("p", { class: "quiet small" }, speech + t("ledger.whole") + again));
      return;
    }
    this.ledger.append(el("details", {},
      el("summary", { class: "small" }, speech, el("span", { class: "lost" }, t("ledger.lost", { n: seconds(lost) })), again),
      el("ul", {}, coverage.dropped.map((one) => this.#lostPlace(one)))));
  }

  #lostPlace({ start, end, reason }) {
    return el("li", {},
      el("button", { class: "button link", onclick: () => this.player.seek(start, { play: true }) }, `${clock(start)}–${clock(end)}`),
      ` ${t(`reason.${reason}`)}`);
  }

  #showTools() {
    const count = this.transcript.rows.reduce((sum, row) => sum + row.words.filter(isUnsure).length, 0);
    this.unsure.hidden = !count;
    for (const tool of [this.undoButton, this.redoButton, this.download]) tool.hidden = !this.transcript.rows.length;
    this.unsure.textContent = t("unsure", { n: count });
    this.undoButton.disabled = !this.edits.done.length;
    this.redoButton.disabled = !this.edits.undone.length;
  }

  #changed(row) {
    this.rows.refresh(row);
    this.#showTools();
    library.saveSoon(this.transcript);
  }

  #at(at) {
    this.waveform.move(at);
    const row = this.rows.light(at);
    if (row && !this.player.audio.paused) follow(row);
  }

  #seek(index, word) {
    const row = this.transcript.rows[index];
    this.player.seek(row.words[word]?.start ?? row.start, { play: true });
  }

  #nextUnsure() {
    const found = this.rows.nextUnsure();
    if (!found) return;
    const [index, word] = found;
    const row = this.transcript.rows[index];
    this.rows.focus(index);
    this.player.seek(row.words[word].start);
    announce(t("unsure.here", { word: row.text.slice(row.words[word].from, row.words[word].to), text: row.text }));
  }

  async #copy() {
    await navigator.clipboard.writeText(plain(this.transcript)).then(() => announce(t("copied")), () => undefined);
  }

  /** Another tab has kept a later version of this transcript: it is shown, unless something was
   *  changed here. */
  #conflict(event) {
    event.preventDefault();
    const showTheirs = async () => {
      await library.reload(this.transcript.id);
      dispatchEvent(new HashChangeEvent("hashchange"));
    };
    const isBusy = this.edits.done.length || library.isUnderWay(this.transcript) || this.element.querySelector(".editing");
    if (!isBusy) return void showTheirs();
    this.#notice("conflict", t("conflict"),
      el("button", { class: "button", onclick: showTheirs }, t("conflict.theirs")),
      el("button", { class: "button", onclick: async () => {
        this.#dropNotice("conflict");
        await library.keepMine(this.transcript);
      } }, t("conflict.mine")));
  }

  /** Keys of the whole view; fields, buttons and lists have their own. */
  #key(event) {
    if (event.target.closest("input, textarea, select, dialog")) return;
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (command && key === "z") this.edits[event.shiftKey ? "redo" : "undo"]();
    else if (command && key === "y") this.edits.redo();
    else if (command || event.altKey) return;
    else if (key === " " && !event.target.closest("button, summary, a")) this.player.toggle();
    else if (key === "arrowleft" || key === "j") this.player.step(-STEP);
    else if (key === "arrowright" || key === "l") this.player.step(STEP);
    else if (key === "k") this.player.toggle();
    else if (key === "n") this.#nextUnsure();
    else return;
    event.preventDefault();
  }
}

/** An error in words: the server's own, where it is the server's. */
function wordsOf({ code, message, retryAfter }) {
  if (["stopped", "interrupted", "job-gone"].includes(code)) return t(`error.${code}`);
  return retryAfter ? `${message} ${t("error.retry", { n: seconds(retryAfter) })}` : message;
}

/** Keep the row that is said in sight, gently, unless somebody types. */
function follow(row) {
  if (document.activeElement?.tagName === "TEXTAREA") return;
  const { top, bottom } = row.getBoundingClientRect();
  const deck = document.querySelector(".deck")?.getBoundingClientRect().bottom ?? 0;
  if (top > deck && bottom < innerHeight - 40) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  scrollBy({ top: top - deck - 80, behavior: calm ? "auto" : "smooth" });
}
