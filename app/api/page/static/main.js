// The page: its views, and which of them is shown.

import { announce, el } from "./dom.js";
import * as editor from "./editor.js";
import * as home from "./home.js";
import { choose, language, languages, t } from "./i18n.js";
import * as jobs from "./jobs.js";
import * as models from "./models.js";

// A view is a path behind the #, with an id where it shows one of several. `tab` names it among the
// tabs.
const VIEWS = [
  { path: "", tab: "tab.transcribe", show: home.show },
  { path: "transcript", of: "", show: editor.show },
  { path: "jobs", tab: "tab.jobs", show: jobs.show },
  { path: "models", tab: "tab.models", show: models.show },
];

let leave = () => {};
let turn = 0; // of views that are shown: one that was left while it loaded is not shown any more

async function route() {
  const [path, id] = location.hash.replace(/^#\/?/, "").split("/");
  const view = VIEWS.find((one) => one.path === path) ?? VIEWS[0];
  const mine = ++turn;
  leave();
  leave = () => {};
  // A place of its own: what is shown late, because it was read first, lands in no other view.
  const place = el("div", { class: "view" });
  document.getElementById("main").replaceChildren(place);
  showFrame(view);
  scrollTo(0, 0);
  const left = await view.show(place, id && decodeURIComponent(id));
  if (mine === turn) leave = left;
  else left();
}

/** What is around every view, in the language that is chosen. */
function showFrame(view) {
  document.documentElement.lang = language();
  document.getElementById("skip").textContent = t("skip");
  const tabs = document.getElementById("tabs");
  tabs.setAttribute("aria-label", t("tabs"));
  tabs.replaceChildren(...VIEWS.filter((one) => one.tab).map((one) => {
    const here = one === view || view.of === one.path;
    return el("a", { href: `#/${one.path}`, "aria-current": here ? "page" : null }, t(one.tab));
  }));
  document.getElementById("aside").replaceChildren(el("a", { href: "docs", class: "quiet" }, t("api")), languageSwitch());
  document.title = "Marlinscribe";
}

function languageSwitch() {
  const select = el("select", { class: "language", "aria-label": t("page.language"), onchange: () => {
    choose(select.value);
    route();
    document.querySelector(".language").focus();
  } }, languages().map(([tag, name]) => el("option", { value: tag, lang: tag, selected: tag === language() }, name)));
  return select;
}

addEventListener("hashchange", async () => {
  await route();
  document.getElementById("main").focus({ preventScroll: true });
  announce(document.querySelector("main h1")?.textContent ?? "");
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the # is the view's
  document.getElementById("main").focus();
});
route();
