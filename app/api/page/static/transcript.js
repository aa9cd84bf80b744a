// A transcript as it is kept, and what can be changed in it.

import { t } from "./i18n.js";
import { realign } from "./realign.js";

export const UNSURE = 0.5; // a word below this probability is marked

/** A transcript before anything is heard. rows: what is said, in order. peaks: of the waveform,
 *  0 to 255, null until they are computed. names: who speaks, by `who` of the rows. */
export function newTranscript(name, choices) {
  return {
    id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`,
    name, choices, version: 0, created: Date.now(), status: "waiting", error: null,
    language: "", duration: 0, model: "", coverage: null, peaks: null, names: {}, rows: [],
  };
}

/** Forget what was heard, to hear it again. */
export function clear(transcript) {
  Object.assign(transcript, { status: "waiting", error: null, coverage: null, rows: [] });
}

/** Add what an event of the stream says. */
export function hear(transcript, event) {
  if (event.type === "transcript.text.segment") transcript.rows.push(rowOf(event));
  if (event.type !== "transcript.text.done") return;
  transcript.coverage = event.coverage ?? null;
  transcript.language = event.language ?? "";
  transcript.duration = event.duration ?? transcript.duration;
}

/** Take in a whole verbose_json. Rows that were heard already are kept as they were edited. */
export function heardWhole(transcript, result) {
  hear(transcript, { ...result, type: "transcript.text.done" });
  const words = new Map(); // by channel: those that are in no segment yet
  for (const word of result.words ?? []) {
    if (!words.has(word.channel)) words.set(word.channel, []);
    words.get(word.channel).push(word);
  }
  const rows = result.segments.map((one) => rowOf({ ...one, words: within(one, words.get(one.channel) ?? []) }));
  const hasWords = (some) => some.some((row) => row.words.length);
  const isHeard = transcript.rows.length === rows.length && (hasWords(transcript.rows) || !hasWords(rows));
  if (!isHeard) transcript.rows = rows;
}

/** The words of a segment, taken from the first of those that are left. */
function within({ end }, left) {
  let count = 0;
  while (count < left.length && (left[count].start + left[count].end) / 2 <= end) count += 1;
  return left.splice(0, count);
}

function rowOf({ start, end, text, words = [], channel, speaker }) {
  const said = text.trim();
  const who = speaker ? `s${speaker}` : channel === undefined ? null : `c${channel}`;
  return { start, end, text: said, who, words: placed(said, words) };
}

/** Where each word stands in its text: words come without the spaces around them. */
function placed(text, words) {
  let at = 0;
  return words.flatMap(({ word, start, end, probability }) => {
    const from = text.indexOf(word, at);
    if (from < 0) return [];
    at = from + word.length;
    return [{ from, to: at, start, end, p: probability ?? null }];
  });
}

/** The name of who speaks in a row; "" where nobody tells speakers apart. */
export function speaker(transcript, who) {
  if (who === null) return "";
  const own = transcript.names[who];
  if (own) return own;
  return who[0] === "c" ? t("speaker.channel", { n: Number(who.slice(1)) + 1 }) : t("speaker", { n: who.slice(1) });
}

export const isUnsure = (word) => word.p !== null && word.p < UNSURE;

/** The index of the last row that begins at or before a time; -1 before the first. */
export function rowAt(rows, seconds) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].start <= seconds) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The index of the word of a row that is said at a time, or was said last; -1 before the first. */
export function wordAt(row, seconds) {
  let found = -1;
  row.words.forEach((word, index) => {
    if (word.start <= seconds) found = index;
  });
  return found;
}

/** Changes of one transcript, and their undoing. `changed` is called with the row that changed, or
 *  with null where names did. */
export class Edits {
  constructor(transcript, changed) {
    this.transcript = transcript;
    this.changed = changed;
    this.done = [];
    this.undone = [];
  }

  /** Change a row's text; whether it was another. */
  setText(index, text) {
    const row = this.transcript.rows[index];
    const after = text.replace(/\s+/g, " ").trim();
    if (after === row.text) return false;
    this.#do({ index, before: { text: row.text, words: row.words }, after: { text: after, words: realign(row, after) } });
    return true;
  }

  /** Name who speaks, in every row. */
  rename(who, name) {
    const before = this.transcript.names[who] ?? "";
    if (name.trim() !== before) this.#do({ who, before, after: name.trim() });
  }

  undo() {
    this.#move(this.done, this.undone, "before");
  }

  redo() {
    this.#move(this.undone, this.done, "after");
  }

  #do(change) {
    this.undone = [change];
    this.redo();
  }

  #move(from, to, side) {
    const change = from.pop();
    if (!change) return;
    to.push(change);
    if (change.who === undefined) Object.assign(this.transcript.rows[change.index], change[side]);
    else this.transcript.names[change.who] = change[side];
    this.changed(change.index ?? null);
  }
}
