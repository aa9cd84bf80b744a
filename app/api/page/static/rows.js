// The rows of a transcript. All their text is in the document, so that the browser's own search
// finds it and screen readers read it; words become elements of their own only near the window, and
// the browser lays out no more than that (content-visibility). Four hours stay fluid so.

import { clock } from "./format.js";
import { t } from "./i18n.js";
import { el, icon } from "./dom.js";
import { isUnsure, rowAt, speaker, wordAt } from "./transcript.js";

const CHUNK = 20; // rows
const NEAR = "1200px"; // of the window
const TURN = 4; // ms of a frame that go to making words elements

/** The rows, and what is done with them.
 *
 *  `actions`: seek(row, word) when a word or a time is clicked, setText(row, text), rename(who, name). */
export class Rows {
  constructor(transcript, actions) {
    this.transcript = transcript;
    this.of = transcript.rows;
    this.actions = actions;
    this.rows = []; // elements, by their index
    this.current = 0; // the row that the keyboard is at
    this.now = [-1, -1]; // row and word that are being said
    this.element = el("div", {
      class: "rows", id: "rows", role: "group", "aria-label": t("rows"),
      onclick: (event) => this.#click(event), ondblclick: (event) => this.#doubleClick(event),
      onkeydown: (event) => this.#key(event),
    });
    this.turns = new Map(); // rows to divide, or to join, by their index
    this.frame = null;
    this.watch = new IntersectionObserver((seen) => seen.forEach((one) => this.#near(one)), { rootMargin: NEAR });
    this.sync();
  }

  close() {
    this.watch.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** Show the rows that have come since. */
  sync() {
    while (this.rows.length < this.transcript.rows.length) {
      const index = this.rows.length;
      if (index % CHUNK === 0) this.#newChunk();
      const row = this.#row(index);
      this.rows.push(row);
      this.chunk.append(row);
      if (this.chunk.near) this.#divide(index);
    }
  }

  /** Show a row as it is now; all speakers' names where it is null. */
  refresh(index) {
    if (index !== null) this.#write(index);
    for (const one of index === null ? this.element.querySelectorAll(".speaker") : []) {
      one.textContent = speaker(this.transcript, one.dataset.who);
    }
  }

  /** Light up the word that is said at a time; the row's element where it is another row. */
  light(seconds) {
    const row = rowAt(this.transcript.rows, seconds);
    const word = row < 0 ? -1 : wordAt(this.transcript.rows[row], seconds);
    const [before, wordBefore] = this.now;
    if (row === before && word === wordBefore) return null;
    this.now = [row, word];
    this.#mark(before, wordBefore, false);
    this.#mark(row, word, true);
    return row !== before && row >= 0 ? this.rows[row] : null;
  }

  /** Go to the next word that the model was unsure of, behind the one it was gone to last; its row
   *  and index. */
  nextUnsure() {
    const { rows } = this.transcript;
    const [fromRow, fromWord] = this.unsure ?? [0, -1];
    for (let step = 0; step <= rows.length; step++) {
      const row = (fromRow + step) % rows.length;
      const word = rows[row].words.findIndex((one, index) => isUnsure(one) && (step > 0 || index > fromWord));
      if (word >= 0) {
        this.unsure = [row, word];
        return this.unsure;
      }
    }
    return null;
  }

  /** Go to a row, by the keyboard or from a list. */
  focus(index) {
    if (!this.rows[index]) return;
    this.#roving(index);
    this.rows[index].scrollIntoView({ block: "center" });
    this.rows[index].querySelector(".text")?.focus({ preventScroll: true });
  }

  edit(index, caret) {
    const row = this.rows[index];
    const text = row.querySelector(".text");
    if (!text || text.tagName === "TEXTAREA") return;
    this.#roving(index);
    const field = el("textarea", { class: "text", rows: "1", "aria-label": t("row.text"), spellcheck: "true" });
    field.value = this.transcript.rows[index].text;
    text.replaceWith(field);
    row.classList.add("editing");
    grow(field);
    field.addEventListener("input", () => grow(field));
    field.addEventListener("blur", () => this.#leave(index, field.value));
    field.addEventListener("keydown", (event) => this.#editKey(event, index, field));
    field.focus();
    const place = caret ?? field.value.length;
    field.setSelectionRange(place, place);
  }

  #editKey(event, index, field) {
    event.stopPropagation();
    if (event.isComposing) return; // Enter chooses a character there
    if (event.key === "Escape") field.value = this.transcript.rows[index].text;
    else if (event.key !== "Enter") return;
    event.preventDefault();
    this.#leave(index, field.value);
    this.rows[index].querySelector(".text").focus();
  }

  #leave(index, text) {
    if (!this.rows[index].classList.contains("editing")) return; // it was left by a key already
    this.rows[index].classList.remove("editing");
    if (!this.actions.setText(index, text)) this.#write(index);
  }

  #newChunk() {
    this.chunk = el("div", { class: "chunk" });
    this.chunk.near = false;
    this.element.append(this.chunk);
    this.chunk.first = this.rows.length;
    this.watch.observe(this.chunk);
  }

  #row(index) {
    const row = this.transcript.rows[index];
    return el("div", { class: "row", "data-row": index },
      el("button", { class: "time", tabindex: "-1", "aria-label": t("row.play", { at: clock(row.start) }) }, clock(row.start)),
      el("div", { class: "said" },
        row.who === null ? null : el("button", { class: `speaker who-${hue(row.who)}`, tabindex: "-1", "data-who": row.who, title: t("speaker.rename") }, speaker(this.transcript, row.who)),
        this.#text(index),
      ),
      el("button", { class: "pencil", tabindex: "-1", "aria-label": t("row.edit"), title: t("row.edit") }, icon("edit")),
    );
  }

  #text(index) {
    return el("p", { class: "text", tabindex: index === this.current ? "0" : "-1" }, this.transcript.rows[index].text);
  }

  #write(index) {
    this.rows[index].querySelector(".text").replaceWith(this.#text(index));
    if (this.rows[index].parentElement.near) this.#divide(index);
  }

  #near({ target, isIntersecting }) {
    if (target.near === isIntersecting) return;
    target.near = isIntersecting;
    for (let index = target.first; index < target.first + target.children.length; index++) {
      this.turns.delete(index); // to the end: what came near last is seen now
      this.turns.set(index, isIntersecting);
    }
    this.frame ??= requestAnimationFrame(() => this.#takeTurns());
  }

  /** Divide and join rows for a part of a frame, and go on in the next. */
  #takeTurns() {
    const until = performance.now() + TURN;
    for (const [index, isNear] of [...this.turns].reverse()) {
      if (performance.now() > until) break;
      this.turns.delete(index);
      if (isNear) this.#divide(index);
      else this.#join(index);
    }
    this.frame = this.turns.size ? requestAnimationFrame(() => this.#takeTurns()) : null;
  }

  /** Make a row's words elements of their own. */
  #divide(index) {
    const { text, words } = this.transcript.rows[index];
    const place = this.rows[index].querySelector("p.text");
    if (!place || !words.length) return;
    const parts = [];
    let at = 0;
    words.forEach((word, number) => {
      parts.push(text.slice(at, word.from), this.#word(text, word, number));
      at = word.to;
    });
    place.replaceChildren(...parts, text.slice(at));
    if (this.now[0] === index) this.#mark(...this.now, true);
  }

  #word(text, word, number) {
    const element = document.createElement("span");
    element.className = isUnsure(word) ? "word unsure" : "word";
    element.dataset.word = number;
    element.textContent = text.slice(word.from, word.to);
    return element;
  }

  #join(index) {
    const place = this.rows[index].querySelector("p.text");
    if (place?.firstElementChild) place.textContent = this.transcript.rows[index].text;
  }

  #mark(row, word, on) {
    const element = this.rows[row];
    if (!element) return;
    element.classList.toggle("now", on);
    element.querySelector(`[data-word="${word}"]`)?.classList.toggle("now", on);
  }

  #click(event) {
    const row = event.target.closest(".row");
    if (!row || event.target.closest("textarea, input")) return;
    const index = Number(row.dataset.row);
    const button = event.target.closest("button");
    if (button?.classList.contains("pencil")) this.edit(index);
    else if (button?.classList.contains("speaker")) this.#rename(button);
    else if (button) this.actions.seek(index, -1);
    else if (!getSelection()?.toString()) this.#wordClicked(event, index);
  }

  #wordClicked(event, index) {
    const word = event.target.closest(".word");
    this.#roving(index);
    if (word) this.actions.seek(index, Number(word.dataset.word));
  }

  #doubleClick(event) {
    const row = event.target.closest(".row");
    if (!row || !event.target.closest("p.text")) return;
    const index = Number(row.dataset.row);
    const word = this.transcript.rows[index].words[event.target.dataset.word];
    this.edit(index, word?.to);
  }

  #rename(button) {
    const { who } = button.dataset;
    const field = el("input", { class: "speaker-name", value: speaker(this.transcript, who), "aria-label": t("speaker.rename"), maxlength: "60" });
    let left = false;
    const leave = (name) => {
      if (left) return;
      left = true;
      field.replaceWith(button);
      if (name !== null && name !== speaker(this.transcript, who)) this.actions.rename(who, name);
      button.focus();
    };
    field.addEventListener("blur", () => leave(field.value));
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing) return;
      if (event.key === "Enter") leave(field.value);
      if (event.key === "Escape") leave(null);
    });
    button.replaceWith(field);
    field.select();
  }

  #key(event) {
    const index = Number(event.target.closest(".row")?.dataset.row ?? this.current);
    const moves = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: this.rows.length - 1 };
    if (event.key in moves && !event.ctrlKey && !event.metaKey) this.focus(Math.max(0, Math.min(this.rows.length - 1, moves[event.key])));
    else if (event.key === "Enter" && event.target.matches("p.text")) this.edit(index);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** One row is in the order of the Tab key; arrows go to the others. */
  #roving(index) {
    this.rows[this.current]?.querySelectorAll("button, .text").forEach((one) => one.setAttribute("tabindex", "-1"));
    this.current = index;
    this.rows[index].querySelectorAll("button, .text").forEach((one) => one.setAttribute("tabindex", "0"));
  }
}

/** A number from 0 to 5 for who speaks: the colour of the name. */
const hue = (who) => (who[0] === "c" ? Number(who.slice(1)) : who.charCodeAt(1) - 65) % 6;

function grow(field) {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}
