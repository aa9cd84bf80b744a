// The service behind the page: its routes, its errors, its streams.

import { eventReader } from "./events.js";
import { t } from "./i18n.js";
import { askForKey, forget, keyFor } from "./keys.js";

const SOON = 10; // ms

/** What the server refused, in its own words. status 0: it was not reached. */
export class ServerError extends Error {
  constructor(message, { status = 0, code = "", param = "", retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, param, retryAfter });
  }
}

const OF_THE_RECORDING = ["undecodable_audio", "truncated_audio", "audio_too_short", "audio_too_long", "not_audio"];

/** Whether the same recording with the same choices would be refused again. A stream's error has its
 *  code alone; of a proxy's, and of ours before anything is sent, there is only a status. */
export const isFinal = ({ status, code }) => [400, 413, 415].includes(status) || OF_THE_RECORDING.includes(code);

/** Do `work`; where the server says 401, ask for a key and do it again, until a key fits or the
 *  dialog is closed. Raises what `work` raises. */
export async function withKey(work, kind = "client") {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (error.status !== 401) throw error;
      const wasWrong = keyFor(kind) !== "";
      forget(kind);
      if (!(await askForKey(kind, wasWrong ? error.message : ""))) throw error;
    }
  }
}

/** Call a route and return its JSON (or its blob, as `as` says), with a key where one is needed.
 *  Raises ServerError. */
export function ask(path, { method = "GET", body, kind = "client", as = "json" } = {}) {
  return withKey(async () => (await reach(path, { method, body, kind }))[as](), kind);
}

async function reach(path, { method = "GET", body, kind = "client", signal }) {
  const headers = authorization(kind);
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) }).catch((error) => {
    throw signal?.aborted ? error : new ServerError(t("error.unreachable"));
  });
  if (answer.ok) return answer;
  throw errorOf(answer.status, await answer.text(), answer.headers.get("retry-after"));
}

function authorization(kind) {
  const key = keyFor(kind);
  return key ? { authorization: `Bearer ${key}` } : {};
}

/** The error in an answer's body; a proxy's answer has none of ours, so its status is told. */
export function errorOf(status, text, retryAfter) {
  const facts = { status, retryAfter: Number(retryAfter) || 0 };
  try {
    const { message, code, param } = JSON.parse(text).error;
    return new ServerError(message, { ...facts, code, param });
  } catch {
    return new ServerError(t("error.status", { status }), facts);
  }
}

let known = null; // {limits, until}: of the service as it runs

/** What this server takes; asked once a minute at most. */
export function limits() {
  if (!known || known.until < performance.now()) {
    const mine = known = { limits: ask("page/limits"), until: performance.now() + 60_000 };
    mine.limits.catch(() => { known = known === mine ? null : known; });
  }
  return known.limits;
}

export const models = () => ask("v1/models");

/** The stage of the service and, while it starts, its progress; null where it is not reached. */
export async function readiness() {
  try {
    const answer = await fetch("health/ready");
    return { ...(await answer.json()), answers: answer.ok };
  } catch {
    return null;
  }
}

/** Ask whether a recording would be let in, by sending none. Raises ServerError where not. */
export async function probe() {
  try {
    await ask("v1/audio/transcriptions", { method: "POST" });
  } catch (error) {
    if (error.status !== 400) throw error; // 400: all that is missing is the recording
  }
}

/** Send a recording and follow its text.
 *
 *  `fields`: of the form, [name, value] each. `onSent` is called with the share of the recording
 *  that is sent, `onEvent` with each of the stream's events. Resolves at the stream's end. Raises
 *  ServerError, and what `signal` was aborted with. A request of the older kind, because a newer one
 *  does not tell how much is sent. */
export function transcribe(file, fields, { onSent, onEvent, signal }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const stream = streamOf(request, onEvent, reject);
    // Chromium tells of what came at most every 50 ms, and of a segment that follows its delta so
    // much late.
    request.onprogress = () => {
      stream.read();
      setTimeout(stream.read, SOON);
    };
    request.onload = () => stream.end(resolve);
    sendForm(request, form(file, fields), { onSent, signal, reject });
  });
}

/** Send a recording to be transcribed in the background. Resolves to its job. Raises as above. */
export function submit(file, fields, { onSent, signal }) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    request.onload = () => {
      if (request.status === 202) resolve(JSON.parse(request.responseText));
      else reject(refusal(request));
    };
    sendForm(request, form(file, fields), { onSent, signal, reject });
  });
}

function sendForm(request, body, { onSent, signal, reject }) {
  request.open("POST", "v1/audio/transcriptions");
  for (const [name, value] of Object.entries(authorization("client"))) request.setRequestHeader(name, value);
  request.upload.onprogress = (event) => onSent(event.total ? event.loaded / event.total : 0);
  request.upload.onload = () => onSent(1);
  request.onerror = () => reject(new ServerError(t("error.unreachable")));
  request.onabort = () => reject(signal.reason);
  signal.addEventListener("abort", () => request.abort());
  request.send(body);
}

const refusal = (request) => errorOf(request.status, request.responseText, request.getResponseHeader("retry-after"));

/** Follow a route's events to their end. Raises ServerError, also where they are cut. */
export async function follow(path, signal, onEvent) {
  const answer = await reach(path, { signal });
  const text = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let done = false;
  const feed = eventReader((event) => {
    if (event.error) throw new ServerError(event.error.message, { status: 200, ...event.error });
    else if (event.type === "[DONE]") done = true;
    else onEvent(event);
  });
  for (let piece = await text.read(); !piece.done; piece = await text.read()) feed(piece.value);
  if (!done) throw new ServerError(t("error.cut"));
}

function form(file, fields) {
  const body = new FormData();
  // The fields first: the server could refuse a bad one before it reads the recording.
  for (const [name, value] of fields) body.append(name, value);
  body.append("file", file, file.name);
  return body;
}

/** Reads a request's stream: an error in it ends it, and so does an end without [DONE]. */
function streamOf(request, onEvent, reject) {
  let [seen, done] = [0, false];
  const feed = eventReader((event) => {
    if (event.error) reject(new ServerError(event.error.message, { status: 200, ...event.error }));
    else if (event.type === "[DONE]") done = true;
    else onEvent(event);
  });
  const read = () => {
    if (request.status !== 200) return;
    const text = request.responseText;
    feed(text.slice(seen));
    seen = text.length;
  };
  const end = (resolve) => {
    if (request.status !== 200) {
      reject(refusal(request));
      return;
    }
    read();
    if (done) resolve();
    else reject(new ServerError(t("error.cut")));
  };
  return { read, end };
}
