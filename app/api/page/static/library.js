// The transcripts of this browser: one object each, whoever works on it, kept as it changes.

import * as store from "./store.js";

const open = new Map();
const recordings = new Map(); // of this tab, also those that were too large to keep
const timers = new Map();
let saving = 0; // how many are being kept at this moment

/** Whether all that was changed is kept. */
export const isKept = () => timers.size === 0 && saving === 0;

/** Told of: "changed" with a transcript's id, "conflict" where another tab has a later one (who shows
 *  it prevents that it is dropped), and "unkept" where the browser keeps nothing. */
export const library = new EventTarget();
const tell = (kind, id) => library.dispatchEvent(new CustomEvent(kind, { detail: id, cancelable: true }));

const otherTabs = "BroadcastChannel" in self ? new BroadcastChannel("marlinscribe") : null;
otherTabs?.addEventListener("message", ({ data: id }) => {
  if (timers.has(id)) return; // which is found out when it is kept
  const isShown = !library.dispatchEvent(new CustomEvent("conflict", { detail: id, cancelable: true }));
  if (!isShown) open.delete(id);
  tell("changed", id);
});

/** All transcripts, the newest first. */
export async function all() {
  const kept = await store.all().catch(() => []);
  const known = new Map(kept.map((one) => [one.id, open.get(one.id) ?? one]));
  for (const [id, one] of open) known.set(id, one);
  return [...known.values()].sort((a, b) => b.created - a.created);
}

/** One transcript by its id; undefined where there is none. */
export async function get(id) {
  if (open.has(id)) return open.get(id);
  const kept = await store.get(id).catch(() => undefined);
  if (kept) open.set(id, interrupted(kept));
  return kept;
}

const UNDER_WAY = ["waiting", "sending", "hearing"];
export const isUnderWay = (transcript) => UNDER_WAY.includes(transcript.status);

/** What was under way in a tab that is gone: it goes on nowhere. */
function interrupted(transcript) {
  if (isUnderWay(transcript)) Object.assign(transcript, { status: "failed", error: { code: "interrupted" } });
  return transcript;
}

/** Forget what this tab has of a transcript, to read what another has kept. */
export const reload = (id) => {
  open.delete(id);
  return get(id);
};

/** Take in a transcript and its recording. Nobody waits until they are kept. */
export function add(transcript, file) {
  open.set(transcript.id, transcript);
  save(transcript);
  attach(transcript.id, file);
}

/** Take in a transcript whose recording is elsewhere. */
export function adopt(transcript) {
  open.set(transcript.id, transcript);
  return save(transcript);
}

/** Keep a transcript soon: changes that follow one another are kept together. */
export function saveSoon(transcript) {
  clearTimeout(timers.get(transcript.id));
  timers.set(transcript.id, setTimeout(() => save(transcript), 300));
}

export async function save(transcript) {
  clearTimeout(timers.get(transcript.id));
  timers.delete(transcript.id);
  if (!open.has(transcript.id)) return;
  saving += 1;
  try {
    if (await store.keep(transcript)) otherTabs?.postMessage(transcript.id);
    else tell("conflict", transcript.id);
  } catch {
    tell("unkept", transcript.id);
  }
  saving -= 1;
  tell("changed", transcript.id);
}

/** Keep what a transcript's waveform is drawn by, which other tabs need not be told of. */
export async function keepPeaks(transcript) {
  saving += 1;
  await store.keepPeaks(transcript).catch(() => tell("unkept", transcript.id));
  saving -= 1;
}

/** Keep this tab's, whatever another has kept. */
export async function keepMine(transcript) {
  const theirs = await store.get(transcript.id);
  transcript.version = Math.max(transcript.version, theirs?.version ?? 0);
  await save(transcript);
}

export async function remove(id) {
  open.delete(id);
  recordings.delete(id);
  await store.remove(id).catch(() => undefined);
  tell("changed", id);
}

/** A transcript's recording; undefined where it was not kept. */
export async function recording(id) {
  return recordings.get(id) ?? store.recording(id).catch(() => undefined);
}

export async function attach(id, file) {
  recordings.set(id, file);
  saving += 1;
  await store.keepRecording(id, file);
  saving -= 1;
}

/** A tab that is closed keeps what it was about to keep. */
addEventListener("pagehide", () => {
  for (const id of timers.keys()) save(open.get(id));
});
