// Transcripts as files.

import { cues } from "./cues.js";
import { docx } from "./docx.js";
import { speaker } from "./transcript.js";

const pad = (number, width) => String(number).padStart(width, "0");

function stamp(seconds, point) {
  const ms = Math.round(seconds * 1000);
  const [h, m, s] = [Math.floor(ms / 3600000), Math.floor(ms / 60000) % 60, Math.floor(ms / 1000) % 60];
  return `${pad(h, 2)}:${pad(m, 2)}:${pad(s, 2)}${point}${pad(ms % 1000, 3)}`;
}

/** The lines of a cue, the first behind who says it. */
function said(transcript, cue) {
  const name = speaker(transcript, cue.who);
  return (name ? `${name}: ` : "") + cue.lines.join("\n");
}

function srt(transcript) {
  return cues(transcript.rows)
    .map((cue, n) => `${n + 1}\n${stamp(cue.start, ",")} --> ${stamp(cue.end, ",")}\n${said(transcript, cue)}\n`)
    .join("\n");
}

const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function vtt(transcript) {
  const body = cues(transcript.rows).map((cue) => {
    const name = speaker(transcript, cue.who);
    const text = escaped(cue.lines.join("\n"));
    return `${stamp(cue.start, ".")} --> ${stamp(cue.end, ".")}\n${name ? `<v ${escaped(name)}>` : ""}${text}\n`;
  });
  return ["WEBVTT\n", ...body].join("\n");
}

/** The whole text: a line a row, and a name where another speaks. */
export function plain(transcript) {
  let last = null;
  const lines = transcript.rows.filter((row) => row.text).map((row) => {
    const name = row.who === last ? "" : speaker(transcript, row.who);
    last = row.who;
    return (name ? `${name}: ` : "") + row.text;
  });
  return `${lines.join("\n")}\n`;
}

/** As verbose_json, with what was edited here. */
function json(transcript) {
  const segments = transcript.rows.map((row, id) => ({
    id, start: row.start, end: row.end, text: row.text, ...who(transcript, row),
  }));
  const words = transcript.rows.flatMap((row) => row.words.map((word) => ({
    word: row.text.slice(word.from, word.to), start: word.start, end: word.end,
    ...(word.p === null ? {} : { probability: word.p }), ...who(transcript, row),
  })));
  const { language, duration, coverage } = transcript;
  const text = plain({ ...transcript, rows: transcript.rows.map((row) => ({ ...row, who: null })) }).trim();
  return `${JSON.stringify({ task: "transcribe", language, duration, text, segments, words, coverage }, null, 1)}\n`;
}

const who = (transcript, row) => (row.who === null ? {} : { speaker: speaker(transcript, row.who) });

/** By a file's ending: how it is written, and its media type. */
export const FORMATS = {
  srt: [srt, "application/x-subrip;charset=utf-8"],
  vtt: [vtt, "text/vtt;charset=utf-8"],
  txt: [plain, "text/plain;charset=utf-8"],
  docx: [docx, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
  json: [json, "application/json;charset=utf-8"],
};

/** Have the browser save a transcript. */
export function download(transcript, ending) {
  const [write, type] = FORMATS[ending];
  const name = transcript.name.replace(/\.[^.]{1,5}$/, "") || "transcript";
  saveAs(new Blob([write(transcript)], { type }), `${name}.${ending}`);
}

/** Have the browser save bytes under a name. */
export function saveAs(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
