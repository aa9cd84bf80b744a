// Records from the microphone.

import { clock } from "./format.js";
import { t } from "./i18n.js";
import { announce, el } from "./dom.js";

const TYPES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const ENDINGS = { "audio/webm": "webm", "audio/mp4": "m4a", "audio/ogg": "ogg" };

/** Why there is no recording here, in words for whoever asked; null where there can be one. */
function whyNot() {
  if (!isSecureContext) return t("record.insecure");
  if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) return t("record.unsupported");
  return null;
}

function reason(error) {
  if (error.name === "NotAllowedError") return t("record.denied");
  if (error.name === "NotFoundError") return t("record.none");
  return t("record.failed", { why: error.message });
}

/** Record until it is stopped; resolves to a file, or null where it is thrown away. Raises an Error
 *  with words for whoever asked. */
export async function record() {
  const blocked = whyNot();
  if (blocked) throw new Error(blocked);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    throw new Error(reason(error));
  }
  try {
    return await whileShown(stream);
  } finally {
    stream.getTracks().forEach((track) => track.stop());
  }
}

function whileShown(stream) {
  return new Promise((resolve) => {
    const type = TYPES.find((one) => MediaRecorder.isTypeSupported(one));
    const recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
    const pieces = [];
    const meter = levelMeter(stream);
    const time = el("p", { class: "record-time" }, clock(0));
    let wanted = false;
    const end = (keep) => {
      wanted = keep;
      if (recorder.state !== "inactive") recorder.stop();
    };
    const dialog = el("dialog", { class: "dialog recorder", "aria-labelledby": "record-title" },
      el("h2", { id: "record-title" }, t("record.title")),
      meter.element, time,
      el("div", { class: "actions" },
        el("button", { class: "button", onclick: () => end(false) }, t("record.discard")),
        el("button", { class: "button main", onclick: () => end(true) }, t("record.finish"))));
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // Escape loses no recording
    const begun = performance.now();
    const ticking = setInterval(() => {
      time.textContent = clock((performance.now() - begun) / 1000);
    }, 250);
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = () => {
      clearInterval(ticking);
      meter.close();
      dialog.remove();
      // A browser writes no length into what it records.
      resolve(wanted ? Object.assign(named(pieces, recorder.mimeType), { seconds: (performance.now() - begun) / 1000 }) : null);
    };
    recorder.start(1000);
    document.body.append(dialog);
    dialog.showModal();
    announce(t("record.title"));
  });
}

function named(pieces, type) {
  const kind = type.split(";")[0] || "audio/webm";
  const now = new Date();
  const day = `${now.getFullYear()}-${String(now.getMonth() + 1).padStart(2, "0")}-${String(now.getDate()).padStart(2, "0")}`;
  const hour = `${String(now.getHours()).padStart(2, "0")}.${String(now.getMinutes()).padStart(2, "0")}`;
  return new File(pieces, `${t("record.name")} ${day} ${hour}.${ENDINGS[kind] ?? "webm"}`, { type: kind });
}

/** A bar that is as long as the microphone is loud. */
function levelMeter(stream) {
  const bar = el("div", { class: "level-bar" });
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let open = true;
  const frame = () => {
    if (!open) return;
    analyser.getFloatTimeDomainData(samples);
    const loudest = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
    bar.style.transform = `scaleX(${Math.min(1, loudest * 1.6).toFixed(3)})`;
    requestAnimationFrame(frame);
  };
  frame();
  const close = () => {
    open = false;
    context.close();
  };
  return { element: el("div", { class: "level", "aria-hidden": "true" }, bar), close };
}
