// Recordings that are transcribed in the background: sent, followed, and made transcripts of here.

import { codeOf } from "./format.js";
import * as library from "./library.js";
import { check, fieldsOf } from "./queue.js";
import { ask, follow, submit, withKey } from "./server.js";
import { hear, heardWhole, newTranscript } from "./transcript.js";

const ROUTE = "v1/audio/transcriptions";
const LOOK_AGAIN = 3000; // ms between tries of a stream that was cut
const WHOLE = "response_format=verbose_json&timestamp_granularities[]=word";

/** Told of: "changed" when one more share is sent, or one is sent, or is refused. */
export const background = new EventTarget();
const changed = () => background.dispatchEvent(new Event("changed"));

/** What is on its way to the server: {file, choices, sent, error}, the next one first. */
export const uploads = [];
let sending = null;

export const isOver = (job) => job.status === "completed" || job.status === "failed";

/** The newest jobs of this key, and whether there are more behind `after`. */
export const jobs = (after) => ask(`${ROUTE}?limit=50${after ? `&after=${encodeURIComponent(after)}` : ""}`);

/** Send recordings, one after the other; each is a job from then on. */
export function send(files, choices) {
  uploads.push(...[...files].map((file) => ({ file, choices, sent: 0, error: null, abort: new AbortController() })));
  changed();
  if (!sending) next();
}

/** Take one out that is not a job yet. */
export function drop(upload) {
  upload.abort.abort(new DOMException("", "AbortError"));
  if (uploads.includes(upload)) uploads.splice(uploads.indexOf(upload), 1);
  changed();
}

/** Send again what was refused. */
export function sendAgain(upload) {
  drop(upload);
  send([upload.file], upload.choices);
}

async function next() {
  sending = uploads.find((one) => !one.error);
  if (!sending) return;
  const upload = sending;
  try {
    await take(upload, await sendOne(upload));
    drop(upload);
  } catch (error) {
    upload.error = error;
    changed();
  }
  next();
}

async function sendOne({ file, choices, abort }, words = true) {
  await check(file);
  const fields = fieldsOf(choices).filter(([name]) => name !== "stream" && (words || name !== "timestamp_granularities[]"));
  try {
    return await withKey(() => submit(file, [...fields, ["background", "true"]], { signal: abort.signal, onSent }));
  } catch (error) {
    // A model that gives words no times hears all the same.
    if (error.param !== "timestamp_granularities" || !words) throw error;
    return sendOne({ file, choices, abort }, false);
  }
}

function onSent(share) {
  if (sending) sending.sent = share;
  changed();
}

/** Keep a job's transcript-to-be beside its recording, which can be heard here then. */
function take({ file, choices }, job) {
  library.add(transcriptOf(job, choices), file);
}

const transcriptOf = (job, choices = {}) => ({
  ...newTranscript(job.filename, choices), id: job.id, status: "background", created: 1000 * job.created_at,
});

/** The transcript of a job in this browser, one that begins to be heard where there is none. */
export async function transcriptHere(job) {
  const known = await library.get(job.id);
  if (known) return known;
  library.adopt(transcriptOf(job));
  return library.get(job.id);
}

/** The transcript of a job that is done, as it is here, or as the server has it. */
export async function transcriptThere(job) {
  const known = await library.get(job.id);
  return known?.status === "done" ? known : filled(transcriptOf(job));
}

/** Cancel or delete a job. A transcript that was opened of it stays in this browser. */
export async function remove(job) {
  await ask(`${ROUTE}/${job.id}`, { method: "DELETE" });
  const known = await library.get(job.id);
  if (known?.status === "background") await library.remove(job.id);
}

/** Hear a transcript's job until it is over. `heard` is called with each row, and with each step.
 *  A stream that is cut is taken up again: the job goes on meanwhile. */
export async function hearJob(transcript, heard, signal) {
  // What is only opened is not kept anew: another tab that shows it would have an older one then.
  if (transcript.status !== "background") return;
  while (transcript.status === "background" && !signal.aborted) {
    try {
      await hearOnce(transcript, heard, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401) return; // no key was given: the view asks again when it is opened
      if (error.status === 404) fail(transcript, error);
      else await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
    }
  }
  if (signal.aborted) return;
  await library.save(transcript);
  heard();
}

async function hearOnce(transcript, heard, signal) {
  let over = await ask(`${ROUTE}/${transcript.id}`);
  if (!isOver(over)) {
    await withKey(() => follow(`${ROUTE}/${transcript.id}/events`, signal, (event) => {
      if (event.job) over = event.job;
      takeIn(transcript, event);
      heard();
    }));
  }
  if (over.status === "failed") fail(transcript, over.error);
  else if (over.status === "completed") await filled(transcript);
}

function takeIn(transcript, event) {
  transcript.progress = event.job?.progress ?? (event.type === "transcription.job.progress" ? event : transcript.progress);
  transcript.duration = transcript.progress?.seconds_total ?? transcript.duration;
  // A stream begins with the segments so far: those that are here already are passed over.
  const number = event.type === "transcript.text.segment" ? Number(event.id.slice(4)) : 0;
  if (number >= transcript.rows.length) hear(transcript, event);
}

function fail(transcript, { status = 0, message, code }) {
  const error = status === 404 ? { code: "job-gone" } : { message, code, status };
  Object.assign(transcript, { status: "failed", error, progress: null });
}

/** Fill a transcript with what its job resulted in. */
async function filled(transcript) {
  const [result, { languages }] = await Promise.all([ask(`${ROUTE}/${transcript.id}/result?${WHOLE}`), ask("page/limits")]);
  heardWhole(transcript, result);
  Object.assign(transcript, { status: "done", progress: null, language: codeOf(transcript.language, languages) });
  return transcript;
}

export const batches = () => ask("v1/batches?limit=20");
export const files = () => ask("v1/files?limit=20");

/** A file of the server's, as the browser saves it. Raises ServerError. */
export async function fileContent(id) {
  return ask(`v1/files/${id}/content`, { as: "blob" });
}

addEventListener("beforeunload", (event) => {
  if (sending) event.preventDefault();
});
