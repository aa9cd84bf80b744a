// The first view: a recording is dropped, chosen or made here, and what was transcribed is listed.

import * as background from "./background.js";
import { announce, el, icon } from "./dom.js";
import { choicesForm, read } from "./choices.js";
import { bytes, clock, hours, languageName, moment, percent } from "./format.js";
import { t } from "./i18n.js";
import * as library from "./library.js";
import { divided } from "./long.js";
import * as queue from "./queue.js";
import { record } from "./recorder.js";
import { limits, models, readiness } from "./server.js";
import { keyFor } from "./keys.js";

const ASK_AGAIN = 3000; // ms between questions to a server that is not ready

/** Show the view in `root`; what to call when it is left. */
export function show(root) {
  const list = el("section", { class: "library", "aria-labelledby": "library-title", hidden: true });
  const form = el("div", {});
  const chosen = () => (form.firstElementChild ? read(form.firstElementChild) : {});
  const told = el("div", { class: "told" });
  root.append(
    el("div", { class: "home" },
      el("h1", {}, t("home.title")),
      el("p", { class: "lead" }, t("home.lead")),
      dropZone((files) => take(files, chosen(), told), told),
      told, form, list));
  const stop = new AbortController();
  fillChoices(form, stop.signal);
  watchReadiness(told, stop.signal);
  const refresh = () => fillList(list);
  refresh();
  library.library.addEventListener("changed", refresh, { signal: stop.signal });
  queue.queue.addEventListener("progress", ({ detail }) => showProgress(list, detail, refresh), { signal: stop.signal });
  return () => stop.abort();
}

async function take(files, choices, told) {
  told.querySelectorAll(".bad, .sent").forEach((one) => one.remove());
  const { jobs, others } = await divided(files, choices.background);
  if (jobs.length) background.send(jobs, choices);
  const taken = queue.add(others, choices);
  if (jobs.length && !taken.length) location.hash = "#/jobs";
  else if (files.length === 1) location.hash = `#/transcript/${taken[0].id}`;
  else if (files.length) announce(t("home.taken", { n: files.length }));
  if (jobs.length && taken.length) told.append(sentToJobs(jobs.length));
}

function sentToJobs(n) {
  return el("p", { class: "notice sent", role: "status" }, t("home.long", { n }), " ", el("a", { href: "#/jobs" }, t("tab.jobs")));
}

function dropZone(onFiles, told) {
  const input = el("input", { type: "file", id: "files", multiple: true, accept: "audio/*,video/*,.mka,.mkv,.opus", class: "unseen", tabindex: "-1", "aria-label": t("home.choose"), onchange: () => {
    onFiles([...input.files]);
    input.value = "";
  } });
  const zone = el("div", { class: "drop", id: "drop" },
    el("div", { class: "drop-icon", "aria-hidden": "true" }, icon("upload")),
    el("p", { class: "drop-title" }, t("home.drop")),
    input,
    el("div", { class: "actions" },
      el("button", { class: "button main large", id: "choose", onclick: () => input.click() }, t("home.choose")),
      el("button", { class: "button large", id: "record", onclick: () => startRecording(onFiles, told) }, icon("record"), t("home.record"))),
    el("p", { class: "quiet small", id: "most" }));
  dropOn(zone, onFiles);
  return zone;
}

/** The whole window takes a drop: a file that misses the zone would be opened by the browser. */
function dropOn(zone, onFiles) {
  const over = (event) => {
    if (!zone.isConnected) return window.removeEventListener("dragover", over);
    event.preventDefault();
    zone.classList.add("over");
  };
  const left = (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  };
  const dropped = async (event) => {
    if (!zone.isConnected) return window.removeEventListener("drop", dropped);
    event.preventDefault();
    zone.classList.remove("over");
    onFiles(await filesOf(event.dataTransfer));
  };
  window.addEventListener("dragover", over);
  window.addEventListener("dragleave", left);
  window.addEventListener("drop", dropped);
}

/** The files of a drop, those in folders too. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = await Promise.all(entries.map(within));
  return found.flat().filter((file) => /^(audio|video)\//.test(file.type));
}

async function within(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) { // a reader gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    for (const one of some) found.push(...(await within(one)));
  }
}

async function startRecording(onFiles, told) {
  try {
    const file = await record();
    if (file) onFiles([file]);
  } catch (error) {
    told.querySelector(".bad")?.remove();
    told.append(el("p", { class: "notice bad", role: "alert" }, error.message));
  }
}

async function fillChoices(place, signal) {
  const [known, served] = await Promise.all([limits().catch(() => null), names()]);
  if (signal.aborted) return;
  place.replaceChildren(choicesForm(known?.languages ?? [], served));
  const most = document.getElementById("most");
  if (known && most) most.textContent = t("home.most", { size: bytes(known.max_upload_bytes), length: known.max_audio_seconds < 3600 ? clock(known.max_audio_seconds) : hours(known.max_audio_seconds) });
}

/** Names of the models, where they can be had without asking for a key. */
async function names() {
  const known = await limits().catch(() => null);
  if (!known || (known.needs_key && !keyFor("client"))) return [];
  const served = await models().catch(() => ({ data: [] }));
  return served.data.filter((one) => !one.marlinscribe?.alias_of).map((one) => one.id);
}

async function watchReadiness(told, signal) {
  const line = el("p", { class: "notice", role: "status", hidden: true });
  told.append(line);
  while (!signal.aborted) {
    const ready = await readiness();
    line.hidden = Boolean(ready?.answers);
    if (ready?.answers) return;
    line.textContent = ready ? stageText(ready) : t("error.unreachable");
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN));
  }
}

function stageText({ status, detail, reason, progress }) {
  if (reason) return t("server.failed", { why: reason });
  const share = progress?.total ? ` (${percent(progress.done / progress.total)})` : "";
  return t("server.starting", { stage: (detail || status) + share });
}

async function fillList(section) {
  const all = await library.all();
  section.hidden = !all.length;
  section.replaceChildren(
    el("h2", { id: "library-title" }, t("library.title")),
    el("p", { class: "quiet small" }, t("library.where")),
    el("ul", { class: "cards" }, all.map(card)));
}

function card(transcript) {
  return el("li", { class: "card", "data-id": transcript.id },
    el("a", { class: "card-name", href: `#/transcript/${transcript.id}` }, transcript.name),
    el("span", { class: "quiet small card-facts" }, facts(transcript)),
    el("button", { class: "button bare", "aria-label": t("library.remove", { name: transcript.name }), title: t("library.remove", { name: transcript.name }), onclick: () => removeAfterAsking(transcript) }, icon("remove")));
}

export function facts(transcript) {
  const { status, duration, language, created } = transcript;
  if (status === "waiting") return t("status.waiting");
  if (status === "sending") return t("status.sending", { share: percent(queue.sentShare(transcript)) });
  if (status === "hearing") return hearing(transcript);
  if (status === "background") return inBackground(transcript);
  if (status === "failed") return t("status.failed");
  return [duration ? clock(duration) : "", language ? languageName(language) : "", moment(created)].filter(Boolean).join(" · ");
}

function hearing(transcript) {
  const at = clock(transcript.rows.at(-1)?.end ?? 0);
  return transcript.duration ? t("status.hearing.of", { at, of: clock(transcript.duration) }) : t("status.hearing", { at });
}

function inBackground({ progress }) {
  if (!progress?.seconds_total) return t("status.background");
  return t("status.background.of", { at: clock(progress.seconds_done), of: clock(progress.seconds_total) });
}

function showProgress(list, transcript, refresh) {
  const line = list.querySelector(`[data-id="${transcript.id}"] .card-facts`);
  if (line) line.textContent = facts(transcript);
  else refresh();
}

async function removeAfterAsking(transcript) {
  if (!confirm(t("library.remove.sure", { name: transcript.name }))) return;
  if (library.isUnderWay(transcript)) queue.stop(transcript);
  await library.remove(transcript.id);
}
