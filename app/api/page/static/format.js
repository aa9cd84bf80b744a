// Figures as people read them.

import { language, t } from "./i18n.js";

const two = (number) => String(number).padStart(2, "0");

/** Seconds as 1:02:03, or 2:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** The length of something long: 4 hours. */
export function hours(seconds) {
  const how = { style: "unit", unit: "hour", unitDisplay: "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat(language(), how).format(seconds / 3600);
}

/** Bytes as 1.2 GB: by thousands, as disks are sold. */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [value, unit] = [count, 0];
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : Number(value.toFixed(1))} ${units[unit]}`;
}

export function percent(share) {
  return new Intl.NumberFormat(language(), { style: "percent" }).format(share);
}

export function seconds(value) {
  return t("seconds", { n: new Intl.NumberFormat(language(), { maximumFractionDigits: 1 }).format(value) });
}

/** A moment, as today's hour or as a day. */
export function moment(ms) {
  const date = new Date(ms);
  const today = date.toDateString() === new Date().toDateString();
  const how = today ? { hour: "numeric", minute: "2-digit" } : { year: "numeric", month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(language(), how).format(date);
}

// Whisper's codes, where they are not the standard's.
const STANDARD = { jw: "jv" };

/** A language's name in the page's language, by Whisper's code. */
export function languageName(code) {
  return named(language(), code) ?? code;
}

/** The code, among `codes`, of a language that the server names in English; the name where it has
 *  none. */
export function codeOf(name, codes) {
  return codes.find((code) => named("en", code)?.toLowerCase() === name) ?? name;
}

function named(tag, code) {
  try {
    return new Intl.DisplayNames([tag], { type: "language" }).of(STANDARD[code] ?? code);
  } catch {
    return undefined;
  }
}
