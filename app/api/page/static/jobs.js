// The view of transcriptions in the background: they are begun, watched, opened and deleted here.

import { announce, el, menu } from "./dom.js";
import * as background from "./background.js";
import { kept } from "./choices.js";
import { FORMATS, download, saveAs } from "./exports.js";
import { bytes, clock, moment, percent, seconds } from "./format.js";
import { t } from "./i18n.js";
import { isFinal } from "./server.js";

const LOOK_AGAIN = 2000; // ms, while a job is under way

/** Show the view in `root`; what to call when it is left. */
export function show(root) {
  const view = new Jobs();
  root.append(view.element);
  view.refresh();
  return () => view.close();
}

class Jobs {
  constructor() {
    this.stop = new AbortController();
    this.older = []; // of the list's further pages, as they were asked for
    this.told = el("div", { class: "told" });
    this.uploads = el("ul", { class: "jobs", id: "uploads", hidden: true });
    this.list = el("ul", { class: "jobs", id: "jobs" });
    this.more = el("button", { class: "button", id: "older", hidden: true, onclick: () => this.#older() }, t("jobs.older"));
    this.batches = el("div", { class: "batches" });
    this.body = el("section", { "aria-labelledby": "jobs-title", hidden: true },
      el("h2", { id: "jobs-title" }, t("jobs.list")), this.list, this.more);
    this.element = el("div", { class: "models" },
      el("h1", {}, t("jobs.title")), el("p", { class: "lead" }, t("jobs.lead")),
      this.#sender(), this.told, this.body, this.batches);
    background.background.addEventListener("changed", () => this.#showUploads(), { signal: this.stop.signal });
    this.#showUploads();
  }

  close() {
    this.stop.abort();
    clearTimeout(this.timer);
  }

  #sender() {
    const input = el("input", { type: "file", id: "job-files", multiple: true, accept: "audio/*,video/*,.mka,.mkv,.opus", class: "unseen", tabindex: "-1", "aria-label": t("home.choose"), onchange: () => {
      background.send([...input.files], kept());
      input.value = "";
    } });
    return el("section", { "aria-labelledby": "send-title" },
      el("h2", { id: "send-title" }, t("jobs.send")), input,
      el("div", { class: "job-head" },
        el("button", { class: "button main", id: "job-choose", onclick: () => input.click() }, t("home.choose")),
        el("p", { class: "quiet small" }, t("jobs.choices"))),
      this.uploads);
  }

  /** Read the jobs, and again while one is under way. */
  async refresh() {
    clearTimeout(this.timer);
    try {
      const { data, has_more: hasMore } = await background.jobs();
      if (this.stop.signal.aborted) return;
      this.told.querySelector("[data-kind=all]")?.remove();
      this.body.hidden = false;
      if (!this.older.length) this.more.hidden = !hasMore;
      this.last ??= data.at(-1)?.id;
      this.#showJobs(data);
      this.#showBatches();
      if (data.some((job) => !background.isOver(job))) this.timer = setTimeout(() => this.refresh(), LOOK_AGAIN);
    } catch (error) {
      if (!this.stop.signal.aborted) this.#tell(error, true);
    }
  }

  async #older() {
    await this.#do(async () => {
      const { data, last_id: last, has_more: hasMore } = await background.jobs(this.last);
      this.older.push(...data);
      this.last = last ?? this.last;
      this.more.hidden = !hasMore;
    });
  }

  #showJobs(newest) {
    const known = new Set(newest.map((job) => job.id));
    const jobs = [...newest, ...this.older.filter((job) => !known.has(job.id))];
    // A job that is as it was keeps its element: who has the focus in there keeps it.
    const shown = new Map([...this.list.children].map((one) => [one.told, one]));
    const items = jobs.map((job) => shown.get(JSON.stringify(job)) ?? this.#job(job));
    if (!items.length) items.push(el("li", { class: "quiet" }, t("jobs.none")));
    if (items.length === this.list.childElementCount && items.every((one, index) => one === this.list.children[index])) return;
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    const id = focused?.closest(".job")?.dataset.id;
    this.list.replaceChildren(...items);
    if (focused) (focused.isConnected ? focused : this.list.querySelector(`[data-id="${id}"] button`))?.focus({ preventScroll: true });
  }

  #job(job) {
    const { id, status, filename, error } = job;
    const element = el("li", { class: "job", "data-id": id },
      el("div", { class: "job-head" },
        el("strong", { class: "job-name" }, filename || id),
        el("span", { class: `badge ${status}` }, t(`tjob.${status}`)),
        el("span", { class: "quiet small" }, facts(job))),
      status === "in_progress" ? progress(job) : null,
      error ? el("p", { class: "lost small" }, error.message) : null,
      el("div", { class: "actions" }, this.#actions(job)),
      el("p", { class: "quiet small", hidden: !job.expires_at }, t("jobs.expires", { at: job.expires_at ? moment(1000 * job.expires_at) : "" })));
    element.told = JSON.stringify(job);
    return element;
  }

  #actions(job) {
    const isActive = !background.isOver(job);
    const name = job.filename || job.id;
    const open = () => this.#do(async () => {
      await background.transcriptHere(job);
      location.hash = `#/transcript/${job.id}`;
    });
    return [
      job.status === "failed" ? null : el("button", { class: "button", "data-do": "open", "aria-label": t(isActive ? "jobs.watch.one" : "jobs.open.one", { name }), onclick: open }, t(isActive ? "jobs.watch" : "jobs.open")),
      job.status === "completed" ? this.#downloads(job) : null,
      el("button", { class: "button", "data-do": "delete", "aria-label": t(isActive ? "jobs.cancel.one" : "jobs.delete.one", { name }), onclick: () => this.#remove(job) }, t(isActive ? "cancel" : "jobs.delete")),
    ];
  }

  #downloads(job) {
    return menu(t("download"), Object.keys(FORMATS).map((ending) => el("button", {
      "data-format": ending,
      onclick: () => this.#do(async () => download(await background.transcriptThere(job), ending)),
    }, t(`download.${ending}`))));
  }

  #remove(job) {
    const name = job.filename || job.id;
    if (!confirm(t(background.isOver(job) ? "jobs.delete.sure" : "jobs.cancel.sure", { name }))) return;
    this.#do(async () => {
      await background.remove(job);
      this.older = this.older.filter((one) => one.id !== job.id);
      announce(t("jobs.deleted", { name }));
    });
  }

  #showUploads() {
    const { uploads } = background;
    const items = [...this.uploads.children];
    if (items.length !== uploads.length || items.some((item, index) => item.of !== uploads[index] || item.error !== uploads[index].error)) {
      this.uploads.replaceChildren(...uploads.map(upload));
      this.uploads.hidden = !uploads.length;
      if (uploads.length < items.length) this.refresh();
    }
    // Only the share: a button that is replaced while it is pressed is not clicked.
    for (const { share, of } of this.uploads.children) share.textContent = of.error ? "" : t("status.sending", { share: percent(of.sent) });
  }

  /** Batches and their files, where there are any: programs begin them. */
  async #showBatches() {
    const [batches, files] = await Promise.all([background.batches(), background.files()]).catch(() => []);
    if (!files || this.stop.signal.aborted) return;
    const told = JSON.stringify([batches.data, files.data]);
    if (told === this.toldBatches) return;
    this.toldBatches = told;
    this.batches.replaceChildren(...[
      section("batches", t("jobs.batches"), batches.data.map(batch)),
      section("files", t("jobs.files"), files.data.map((one) => this.#file(one))),
    ].filter(Boolean));
  }

  #file({ id, filename, bytes: size, created_at: created }) {
    const save = () => this.#do(async () => saveAs(await background.fileContent(id), filename || id));
    return el("li", { class: "job" }, el("div", { class: "job-head" },
      el("strong", { class: "job-name" }, filename || id), el("span", { class: "quiet small" }, [bytes(size), moment(1000 * created)].join(" · ")),
      el("button", { class: "button", "aria-label": `${t("download")}: ${filename || id}`, onclick: save }, t("download"))));
  }

  async #do(work) {
    this.told.replaceChildren();
    try {
      await work();
      this.refresh();
    } catch (error) {
      this.#tell(error);
    }
  }

  #tell(error, isAll = false) {
    const again = el("button", { class: "button", onclick: () => this.refresh() }, t("again"));
    this.told.replaceChildren(el("div", { class: "notice bad", role: "alert", "data-kind": isAll ? "all" : "one" }, el("p", {}, error.message), isAll ? again : null));
  }
}

/** What is on its way to be a job, or was refused. */
function upload(one) {
  const share = el("span", { class: "quiet small" });
  const item = el("li", { class: "job" },
    el("div", { class: "job-head" }, el("strong", { class: "job-name" }, one.file.name), share),
    one.error ? el("p", { class: "lost small", role: "alert" }, one.error.message) : null,
    el("div", { class: "actions" },
      one.error && !isFinal(one.error) ? el("button", { class: "button", onclick: () => background.sendAgain(one) }, t("again")) : null,
      el("button", { class: "button", onclick: () => background.drop(one) }, t(one.error ? "jobs.dismiss" : "cancel"))));
  return Object.assign(item, { of: one, error: one.error, share });
}

function facts({ progress: done, created_at: created, model }) {
  return [done.seconds_total ? clock(done.seconds_total) : "", model, moment(1000 * created)].filter(Boolean).join(" · ");
}

/** How far a job is, and how long the rest may take. */
export function progress({ progress: { seconds_done: done, seconds_total: total, eta_seconds: eta } }) {
  const said = total ? t("jobs.done", { at: clock(done), of: clock(total) }) : t("jobs.begins");
  const left = eta ? ` · ${t("models.left", { n: eta < 120 ? seconds(Math.ceil(eta)) : clock(eta) })}` : "";
  return el("div", { class: "progress" },
    el("progress", { "aria-label": said, max: total || null, value: total ? done : null }),
    el("span", { class: "quiet small" }, said + left));
}

function section(id, title, items) {
  if (!items.length) return null;
  return el("section", { "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), el("ul", { class: "jobs", id }, items));
}

function batch({ id, status, request_counts: counts, created_at: created }) {
  return el("li", { class: "job" }, el("div", { class: "job-head" },
    el("strong", { class: "job-name" }, id), el("span", { class: `badge ${status}` }, t(`batch.${status}`)),
    el("span", { class: "quiet small" }, [t("batch.counts", { done: counts.completed, failed: counts.failed, total: counts.total }), moment(1000 * created)].join(" · "))));
}
