// What a transcription is asked for: chosen once, and kept in this browser.

import { el } from "./dom.js";
import { languageName } from "./format.js";
import { t } from "./i18n.js";

const KEPT = "marlinscribe.choices";
const FIRST = ["zh-TW", "zh-HK", "zh-CN", "en", "ja", "ko", "es", "fr", "de"];
const WHEN = ["long", "always", "never"]; // a recording is a job
const SCRIPTS = ["zh-TW", "zh-HK", "zh-CN"]; // tags that say what Chinese is written in

export function kept() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
}

/** The form of choices. `known`: the server's languages; `models`: names of what it serves. */
export function choicesForm(known, models) {
  const chosen = kept();
  const change = () => localStorage.setItem(KEPT, JSON.stringify(read(form)));
  const form = el("form", { class: "choices", onchange: change, onsubmit: (event) => event.preventDefault() },
    field("language", t("choice.language"), languageSelect(known, chosen.language)),
    field("keywords", t("choice.keywords"), el("input", { value: (chosen.keywords ?? []).join(", "), placeholder: t("choice.keywords.example"), autocomplete: "off" }), t("choice.keywords.why")),
    el("div", { class: "across" }, field("background", t("choice.background"), select(WHEN.map((when) => [when, t(`choice.background.${when}`)]), chosen.background === true ? "always" : chosen.background), t("choice.background.why"))),
    el("details", { class: "more", open: Boolean(chosen.prompt || chosen.channels) },
      el("summary", {}, t("choice.more")),
      field("prompt", t("choice.prompt"), el("textarea", { rows: "2" }, chosen.prompt ?? ""), t("choice.prompt.why")),
      checkbox("channels", t("choice.channels"), chosen.channels === "split", t("choice.channels.why")),
      models.length > 1 ? field("model", t("choice.model"), select(models.map((name) => [name, name]), chosen.model)) : null));
  return form;
}

/** What the form says, as the fields of a request; what is left open is left out. */
export function read(form) {
  const value = (name) => form.querySelector(`[name="${name}"]`)?.value.trim() || undefined;
  const keywords = (value("keywords") ?? "").split(/[,、，;\n]/).map((word) => word.trim()).filter(Boolean);
  return {
    language: value("language"), prompt: value("prompt"), model: value("model"), keywords,
    channels: form.querySelector('[name="channels"]').checked ? "split" : undefined,
    background: value("background"),
  };
}

function field(name, label, input, why) {
  input.id = `choice-${name}`;
  input.name = name;
  if (why) input.setAttribute("aria-describedby", `${input.id}-why`);
  return el("div", { class: "field" },
    el("label", { for: input.id }, label), input,
    why ? el("p", { class: "quiet small", id: `${input.id}-why` }, why) : null);
}

function checkbox(name, label, checked, why) {
  const id = `choice-${name}`;
  return el("div", { class: "field" },
    el("label", { class: "check", for: id }, el("input", { type: "checkbox", id, name, checked, "aria-describedby": `${id}-why` }), label),
    el("p", { class: "quiet small", id: `${id}-why` }, why));
}

function select(options, chosen) {
  return el("select", {}, options.map(([value, label]) => el("option", { value, selected: value === chosen }, label)));
}

function languageSelect(known, chosen) {
  const rest = known.filter((code) => !FIRST.includes(code))
    .map((code) => [code, code === "zh" ? t("language.zh") : languageName(code)])
    .sort((a, b) => a[1].localeCompare(b[1]));
  const first = FIRST.filter((tag) => SCRIPTS.includes(tag) || known.includes(tag))
    .map((tag) => [tag, SCRIPTS.includes(tag) ? t(`language.${tag}`) : languageName(tag)]);
  const group = (label, options) => el("optgroup", { label }, options.map(([value, name]) => el("option", { value, selected: value === chosen }, name)));
  return el("select", {}, el("option", { value: "" }, t("language.detect")), group(t("language.common"), first), group(t("language.others"), rest));
}
