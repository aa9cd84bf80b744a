// Recordings on their way to the server, one after the other.

import { bytes, codeOf } from "./format.js";
import { t } from "./i18n.js";
import * as library from "./library.js";
import { peaks } from "./peaks.js";
import { ServerError, limits, probe, transcribe, withKey } from "./server.js";
import { clear, hear, newTranscript } from "./transcript.js";

/** Told of: "progress" with a transcript, "heard" with one that has another row. */
export const queue = new EventTarget();
const tell = (kind, transcript) => queue.dispatchEvent(new CustomEvent(kind, { detail: transcript }));

const waiting = [];
let running = null; // {transcript, abort}

/** Take recordings in; their transcripts. */
export function add(files, choices) {
  return [...files].map((file) => {
    const transcript = newTranscript(file.name, choices);
    library.add(transcript, file);
    enter(transcript);
    return transcript;
  });
}

/** Hear a recording again from its beginning. */
export function again(transcript) {
  clear(transcript);
  enter(transcript);
}

function enter(transcript) {
  waiting.push(transcript);
  tell("progress", transcript);
  if (!running) next();
}

/** Take one out that waits or is heard. What was heard of it stays. */
export function stop(transcript) {
  const place = waiting.indexOf(transcript);
  if (place >= 0) waiting.splice(place, 1);
  if (running?.transcript === transcript) running.abort.abort(new DOMException("", "AbortError"));
  else fail(transcript, { code: "stopped" });
}

export const isBusy = () => running !== null;

async function next() {
  const transcript = waiting.shift();
  if (!transcript) return;
  running = { transcript, abort: new AbortController(), sent: 0 };
  try {
    await hearOut(transcript, running);
    transcript.status = "done";
  } catch (error) {
    fail(transcript, error.name === "AbortError" ? { code: "stopped" } : told(error));
  }
  running = null;
  await library.save(transcript);
  tell("progress", transcript);
  next();
}

function fail(transcript, error) {
  Object.assign(transcript, { status: "failed", error });
  library.saveSoon(transcript);
  tell("progress", transcript);
}

const told = ({ message, status = 0, code = "", retryAfter = 0 }) => ({ message, status, code, retryAfter });

/** The share of a recording that is sent; 1 for all but the one under way. */
export const sentShare = (transcript) => (running?.transcript === transcript ? running.sent : 1);

async function hearOut(transcript, run) {
  const file = await library.recording(transcript.id);
  if (!file) throw new ServerError(t("error.no-recording"));
  enterStage(transcript, "sending");
  const { languages } = await check(file);
  const fields = fieldsOf(transcript.choices);
  try {
    await sendOnce(transcript, file, fields, run);
  } catch (error) {
    // A model that gives words no times hears all the same.
    if (error.param !== "timestamp_granularities") throw error;
    await sendOnce(transcript, file, fields.filter(([name]) => name !== "timestamp_granularities[]"), run);
  }
  transcript.language = codeOf(transcript.language, languages);
}

function enterStage(transcript, status) {
  transcript.status = status;
  tell("progress", transcript);
}

const QUICK = 5e6; // bytes: a smaller recording is sent as fast as it is asked about

/** What can be known before a recording is sent: a browser reads no refusal until it has sent all,
 *  which of a large recording takes long. */
export async function check(file) {
  const known = await limits();
  const most = known.max_upload_bytes;
  if (file.size > most) {
    throw new ServerError(t("error.too-large", { size: bytes(file.size), most: bytes(most) }), { status: 413 });
  }
  if (file.size > QUICK) await probe();
  return known;
}

const DRAWN_AFTER = 1000; // ms
const DRAWN_AFTER_TEXT = 100; // ms: the text is on the screen by then

/** The waveform's turn comes when the first text is there, or soon after a recording is sent: its
 *  decoding takes the processor from both, and from a server on the same machine. */
function isSent(transcript, file, run) {
  transcript.status = "hearing";
  if (!transcript.peaks) run.drawing ??= setTimeout(() => drawOnce(transcript, file, run), DRAWN_AFTER);
}

function drawOnce(transcript, file, run) {
  if (!run.isDrawn) draw(transcript, file);
  run.isDrawn = true;
}

async function draw(transcript, file) {
  const found = await peaks(file);
  if (found.duration) transcript.duration ||= found.duration;
  transcript.peaks = found.peaks;
  library.keepPeaks(transcript);
  tell("progress", transcript);
}

/** The form's fields for what was chosen. */
export function fieldsOf({ language, prompt, keywords = [], channels, model }) {
  const fields = [["stream", "true"], ["response_format", "verbose_json"], ["timestamp_granularities[]", "word"]];
  const chosen = { language, prompt, channels, model };
  fields.push(...Object.entries(chosen).filter(([, value]) => value));
  return [...fields, ...keywords.map((word) => ["keywords[]", word])];
}

function sendOnce(transcript, file, fields, run) {
  return withKey(() => transcribe(file, fields, {
    signal: run.abort.signal,
    onSent: (share) => {
      run.sent = share;
      if (share === 1) isSent(transcript, file, run);
      tell("progress", transcript);
    },
    onEvent: (event) => {
      hear(transcript, event);
      if (event.type !== "transcript.text.segment") return;
      library.saveSoon(transcript);
      tell("heard", transcript);
      if (run.drawing && transcript.rows.length === 1) setTimeout(() => drawOnce(transcript, file, run), DRAWN_AFTER_TEXT);
    },
  }));
}

addEventListener("beforeunload", (event) => {
  if (running) event.preventDefault();
});
