// Makes elements. Styles are set by classes, and figures by `element.style`: a content security
// policy without inline styles refuses style attributes.

/** An element: `el("button", {class: "main", onclick: go}, "Go")`. Attributes that are null,
 *  undefined or false are left out; functions listen; children may be nested lists. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  play: "M7 4.500v15l12-7.500z",
  pause: "M7 4.500h3.500v15H7zM13.500 4.500H17v15h-3.500z",
  record: "M12 3a3.500 3.500 0 0 0-3.500 3.500v5a3.500 3.500 0 0 0 7 0v-5A3.500 3.500 0 0 0 12 3zM5.500 11.500h1.800a4.700 4.700 0 0 0 9.400 0h1.800a6.500 6.500 0 0 1-5.600 6.400V21h-1.800v-3.100a6.500 6.500 0 0 1-5.600-6.400z",
  edit: "M4 20h4L19.500 8.500l-4-4L4 16zm11.500-13.200 1.700 1.700-1.300 1.300-1.700-1.700z",
  undo: "M8 5 3.500 9.500 8 14v-3.300h6a3.600 3.600 0 0 1 0 7.300h-3v2.400h3a6 6 0 0 0 0-12H8z",
  redo: "M16 5l4.500 4.500L16 14v-3.300h-6a3.600 3.600 0 0 0 0 7.300h3v2.400h-3a6 6 0 0 1 0-12h6z",
  remove: "M6.400 5 5 6.400l5.600 5.600L5 17.600 6.400 19l5.600-5.600 5.600 5.600 1.400-1.400-5.600-5.600L19 6.400 17.600 5 12 10.600z",
  upload: "M12 4 6.500 9.500l1.500 1.500 2.900-2.900V16h2.200V8.100L16 11l1.500-1.500zM5 18h14v2.200H5z",
};

/** A picture of a control; what it means is said by the control's own name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** Tell whoever listens to the page. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** A menu that opens under its button, and closes by Escape, by a click elsewhere and by a choice. */
export function menu(label, items) {
  const list = el("div", { class: "menu-items" }, items);
  const details = el("details", { class: "menu" }, el("summary", { class: "button" }, label), list);
  const away = (event) => {
    if (!details.contains(event.target)) details.open = false;
  };
  details.addEventListener("toggle", () => {
    document[details.open ? "addEventListener" : "removeEventListener"]("click", away);
    if (details.open) list.querySelector("button")?.focus();
  });
  details.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !details.open) return;
    details.open = false;
    details.querySelector("summary").focus();
    event.stopPropagation();
  });
  list.addEventListener("click", () => {
    details.open = false;
  });
  return details;
}
