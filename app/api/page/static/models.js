// For whoever has the admin key: checkpoints are made, proven, promoted and rolled back here.

import { announce, el } from "./dom.js";
import { bytes, moment, percent, seconds } from "./format.js";
import { t } from "./i18n.js";
import { ask } from "./server.js";

const LOOK_AGAIN = 2000; // ms, while a job is under way
const ACTIVE = ["queued", "running"];
const RESUMABLE = ["interrupted", "cancelled", "failed"];
const SCHEMES = ["W4A16", "W8A16", "W8A8", "W3A16", "W2A16"];
const AUTO = "auto"; // bits by layer, chosen by what is measured on the server
const SCENARIOS = ["latency", "throughput", "memory"];
const METHODS = ["gptq", "awq", "autoround", "rtn"];

const admin = (path, how = {}) => ask(path, { ...how, kind: "admin" });

/** Show the view in `root`; what to call when it is left. */
export function show(root) {
  const view = new Models();
  root.append(view.element);
  view.refresh();
  return () => view.close();
}

class Models {
  constructor() {
    this.told = el("div", { class: "told" });
    this.list = el("ul", { class: "jobs", id: "jobs" });
    this.served = el("dl", { class: "served" });
    this.form = orderForm((order) => this.#submit(order));
    this.body = el("div", { hidden: true },
      el("section", { "aria-labelledby": "served-title" }, el("h2", { id: "served-title" }, t("models.served")), this.served,
        el("button", { class: "button", id: "rollback", onclick: () => this.#rollBack() }, t("models.rollback"))),
      el("section", { "aria-labelledby": "make-title" }, el("h2", { id: "make-title" }, t("models.make")), this.form),
      el("section", { "aria-labelledby": "jobs-title" }, el("h2", { id: "jobs-title" }, t("models.jobs")), this.list));
    this.element = el("div", { class: "models" }, el("h1", {}, t("models.title")), el("p", { class: "lead" }, t("models.lead")), this.told, this.body);
    this.closed = false;
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }

  /** Read the jobs, and again while one is under way. */
  async refresh() {
    clearTimeout(this.timer);
    try {
      const { data } = await admin("quantize");
      if (this.closed) return;
      this.body.hidden = false;
      this.#showJobs(data);
      this.#showServed();
      if (data.some((job) => ACTIVE.includes(job.status) || job.stage === "promoting")) this.timer = setTimeout(() => this.refresh(), LOOK_AGAIN);
    } catch (error) {
      this.#tell(error);
    }
  }

  #showJobs(jobs) {
    // A job that is as it was keeps its element: who has the focus in there keeps it.
    const shown = new Map([...this.list.children].map((one) => [one.told, one]));
    this.list.replaceChildren(...jobs.map((job) => shown.get(JSON.stringify(job)) ?? this.#job(job)));
    if (!jobs.length) this.list.append(el("li", { class: "quiet" }, t("models.none")));
  }

  async #showServed() {
    const { data } = await ask("v1/models").catch(() => ({ data: [] }));
    const own = data.filter((one) => !one.marlinscribe.alias_of);
    this.served.replaceChildren(...own.flatMap(({ id, marlinscribe: facts }) => [
      el("dt", {}, id),
      el("dd", {}, [facts.scheme, facts.source, facts.bytes ? bytes(facts.bytes) : ""].filter((one) => typeof one === "string" && one).join(" · "))]));
  }

  #job(job) {
    const { id, status, source, recipe, created_at: created } = job;
    const element = el("li", { class: "job", "data-id": id, "data-status": status },
      el("div", { class: "job-head" },
        el("strong", { class: "job-name" }, `${recipe.scheme ?? ""} ${t("models.of", { source })}`),
        el("span", { class: `badge ${status}` }, t(`job.${status}`)),
        el("span", { class: "quiet small" }, [recipe.method, moment(created * 1000)].filter(Boolean).join(" · "))),
      ACTIVE.includes(status) ? progress(job) : null,
      job.error ? el("p", { class: "lost" }, `${job.error.message ?? ""} ${job.error.advice ?? ""}`) : null,
      job.proof ? proofTable(job.proof) : null,
      el("div", { class: "actions" }, this.#actions(job)));
    element.told = JSON.stringify(job);
    return element;
  }

  #actions({ id, status, proof }) {
    const button = (label, work, main = "") => el("button", { class: `button ${main}`, onclick: () => this.#do(work) }, label);
    return [
      proof ? el("a", { class: "button", href: `quantize/${id}/report`, target: "_blank", rel: "noopener", title: t("models.report.why") }, t("models.report")) : null,
      status === "proven" ? button(t("models.promote"), () => admin(`quantize/${id}/promote`, { method: "POST" }), "main") : null,
      ACTIVE.includes(status) ? button(t("cancel"), () => admin(`quantize/${id}`, { method: "DELETE" })) : null,
      RESUMABLE.includes(status) ? button(t("models.resume"), () => admin(`quantize/${id}/resume`, { method: "POST" })) : null,
    ];
  }

  #submit(order) {
    return this.#do(async () => {
      await admin("quantize", { method: "POST", body: order });
      announce(t("models.ordered"));
    });
  }

  #rollBack() {
    if (confirm(t("models.rollback.sure"))) this.#do(() => admin("models/rollback", { method: "POST" }));
  }

  async #do(work) {
    this.told.replaceChildren();
    try {
      await work();
    } catch (error) {
      this.#tell(error);
    }
    this.refresh();
  }

  #tell(error) {
    const again = el("button", { class: "button", onclick: () => {
      this.told.replaceChildren();
      this.refresh();
    } }, t("again"));
    this.told.replaceChildren(el("div", { class: "notice bad", role: "alert" }, el("p", {}, error.message), this.body.hidden ? again : null));
  }
}

function progress({ stage, progress: done }) {
  const bar = el("progress", { "aria-label": stage, max: done?.total ?? null, value: done ? done.done : null });
  const left = done?.eta_seconds ? ` · ${t("models.left", { n: seconds(Math.round(done.eta_seconds)) })}` : "";
  return el("div", { class: "progress" }, bar, el("span", { class: "quiet small" }, `${stage}${done ? ` ${done.done}/${done.total}` : ""}${left}`));
}

/** What a proof found, by language: the report has the rest. */
function proofTable({ languages, reasons }) {
  const head = ["models.language", "models.recordings", "models.metric", "models.before", "models.after", "models.recovery"];
  const rate = (value) => (typeof value === "number" ? percentOf(value) : "–");
  return el("div", {},
    !Object.keys(languages).length ? null : el("div", { class: "wide" }, el("table", {},
      el("thead", {}, el("tr", {}, head.map((key) => el("th", { scope: "col" }, t(key))))),
      el("tbody", {}, Object.entries(languages).map(([code, one]) => el("tr", {},
        el("th", { scope: "row" }, code), [one.recordings, one.metric.toUpperCase(), rate(one.source), rate(one.candidate), recovery(one.recovery)].map((cell) => el("td", {}, String(cell)))))))),
    reasons.length ? el("ul", { class: "lost small" }, reasons.map((reason) => el("li", {}, reason))) : null);
}

const percentOf = (share) => `${(100 * share).toFixed(1)} %`;

/** Recovery is a figure, or one with its interval. */
function recovery(value) {
  const share = typeof value === "number" ? value : value?.value;
  return typeof share === "number" ? percent(share) : "–";
}

function orderForm(submit) {
  const field = (name, label, input, why) => {
    Object.assign(input, { id: `order-${name}`, name });
    return el("div", { class: "field" }, el("label", { for: input.id }, label), input, why ? el("p", { class: "quiet small" }, why) : null);
  };
  const select = (values) => el("select", {}, values.map((value) => el("option", { value }, value)));
  const scheme = select(SCHEMES);
  scheme.append(el("option", { value: AUTO }, t("order.scheme.auto")));
  const scenario = el("select", {}, SCENARIOS.map((value) => el("option", { value }, t(`order.scenario.${value}`))));
  const promote = el("select", {}, ["manual", "auto", "never"].map((value) => el("option", { value }, t(`order.promote.${value}`))));
  const form = el("form", { class: "order", onsubmit: (event) => {
    event.preventDefault();
    submit(orderOf(form));
  } },
    field("model", t("order.model"), el("input", { placeholder: "openai/whisper-base", autocomplete: "off" }), t("order.model.why")),
    field("scheme", t("order.scheme"), scheme),
    field("scenario", t("order.scenario"), scenario, t("order.scenario.why")),
    field("method", t("order.method"), select(METHODS)),
    field("calibration", t("order.calibration"), el("input", { autocomplete: "off" }), t("order.recordings.why")),
    field("proof", t("order.proof"), el("input", { autocomplete: "off" }), t("order.recordings.why")),
    field("promote", t("order.promote"), promote),
    el("button", { class: "button main" }, t("order.submit")));
  const showAsked = () => {
    const isAuto = scheme.value === AUTO;
    scenario.closest(".field").hidden = !isAuto;
    form.elements.method.closest(".field").hidden = isAuto;
  };
  scheme.addEventListener("change", showAsked);
  showAsked();
  return form;
}

/** The order that a form says; what is empty is left to the server. */
function orderOf(form) {
  const value = (name) => form.elements[name].value.trim();
  const recordings = (name) => (value(name) ? { sources: [value(name)] } : undefined);
  return {
    ...(value("model") ? { model: value("model") } : {}),
    recipe: value("scheme") === AUTO
      ? { scheme: AUTO, scenario: value("scenario") }
      : { scheme: value("scheme"), method: value("method") },
    ...(recordings("calibration") ? { calibration: recordings("calibration") } : {}),
    ...(recordings("proof") ? { proof: recordings("proof") } : {}),
    promote: value("promote"),
  };
}
