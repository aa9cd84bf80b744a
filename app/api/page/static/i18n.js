// The page's languages. A text is named by its key and may have places, such as {name}.

import en from "./strings/en.js";
import zhHant from "./strings/zh-hant.js";

const STRINGS = { en, "zh-Hant": zhHant };
const KEPT = "marlinscribe.language";

let chosen = preferred();

/** The language that was chosen here before, else the browser's, else English. */
function preferred() {
  const kept = localStorage.getItem(KEPT);
  if (kept in STRINGS) return kept;
  const first = (navigator.languages || ["en"]).find((tag) => /^(en|zh)\b/i.test(tag)) || "en";
  return /^zh/i.test(first) ? "zh-Hant" : "en";
}

export const language = () => chosen;
export const languages = () => Object.entries(STRINGS).map(([tag, strings]) => [tag, strings.itself]);

export function choose(tag) {
  chosen = tag;
  localStorage.setItem(KEPT, tag);
}

/** The text of a key, with `values` in its places. */
export function t(key, values = {}) {
  const text = STRINGS[chosen][key] ?? STRINGS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}
