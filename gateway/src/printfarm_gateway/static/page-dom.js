// What every part of the page draws with. Everything from the farm is shown as text, never as markup.
export const $ = (id) => document.getElementById(id);

export function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== "" && child !== false) node.append(child);
  return node;
}

// Draws the list anew, but keeps what did not change, and with it the focus of whoever works by keyboard.
export function fill(id, nodes, empty) {
  const list = $(id), focused = document.activeElement;
  // Nobody's hand is pushed aside while it types.
  if (list.contains(focused) && focused.tagName === "INPUT") return;
  const name = list.contains(focused) ? focused.dataset.key : "";
  const wanted = nodes.length || !empty ? nodes : [el("p", { class: "empty" }, empty)];
  const old = [...list.children];
  list.replaceChildren(...wanted.map((node) => {
    const at = old.findIndex((other) => other.isEqualNode(node));
    return at < 0 ? node : old.splice(at, 1)[0];
  }));
  if (name) list.querySelector(`[data-key="${CSS.escape(name)}"]`)?.focus();
}

const GOOD = new Set(["idle", "printing", "preparing", "finishing", "completed", "active", "clear", "finished"]);
const BAD = new Set(["error", "failed", "unconfirmed", "emergency_stopped", "locked", "fenced"]);
export function chip(text, tone) {
  const kind = tone || (GOOD.has(text) ? "good" : BAD.has(text) ? "bad" : text === "offline" ? "off" : "warn");
  return el("span", { class: "chip " + kind }, String(text).replaceAll("_", " "));
}

export const percent = (value) => Math.floor(value * 100) + " %";
export const short = (id) => (id.length === 36 ? id.slice(-8) : id);
export const parts = (count) => `${count} part${count === 1 ? "" : "s"}`;

export function span(seconds) {
  if (seconds < 60) return "less than a minute";
  const minutes = Math.round(seconds / 60), hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.round(hours / 24)} days`;
  return hours ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

export const ago = (moment) => span(Math.max(0, (Date.now() - new Date(moment)) / 1000));

export function clock(moment) {
  const at = new Date(moment), today = new Date().toDateString() === at.toDateString();
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return today ? time : `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

export function bar(value, label) {
  return el("progress", { max: 1, value: value.toFixed(3), "aria-label": label });
}
