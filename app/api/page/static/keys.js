// Keys, which are asked for when the server asks, and forgotten with the tab.

import { el } from "./dom.js";
import { t } from "./i18n.js";

const PLACE = { client: "marlinscribe.key", admin: "marlinscribe.admin-key" };

/** The key for these routes; "" where none was given. The admin key opens the others too. */
export function keyFor(kind) {
  return sessionStorage.getItem(PLACE[kind]) || (kind === "client" ? sessionStorage.getItem(PLACE.admin) : "") || "";
}

export function forget(kind) {
  sessionStorage.removeItem(PLACE[kind]);
}

let open = null; // one dialog at a time: whoever asks meanwhile waits for the same key

/** Ask for a key, with the server's own words where it refused one. Resolves to whether one was given. */
export function askForKey(kind, said) {
  open ??= show(kind, said).finally(() => {
    open = null;
  });
  return open;
}

function show(kind, said) {
  return new Promise((resolve) => {
    const field = el("input", { type: "password", id: "key", autocomplete: "off", spellcheck: "false", required: true });
    const dialog = el(
      "dialog",
      { class: "dialog", "aria-labelledby": "key-title" },
      el("form", { onsubmit: give },
        el("h2", { id: "key-title" }, t(`key.title.${kind}`)),
        said ? el("p", { class: "lost" }, said) : null,
        el("label", { for: "key" }, t("key.label")),
        field,
        el("p", { class: "quiet small" }, t("key.kept")),
        el("div", { class: "actions" },
          el("button", { type: "button", class: "button", onclick: () => dialog.close() }, t("cancel")),
          el("button", { class: "button main" }, t("key.use")),
        ),
      ),
    );
    let given = false;
    function give(event) {
      event.preventDefault();
      sessionStorage.setItem(PLACE[kind], field.value.trim());
      given = true;
      dialog.close();
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(given);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
