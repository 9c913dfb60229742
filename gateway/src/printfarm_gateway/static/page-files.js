// The stored files: looked for, shown with what they tell of themselves, deleted.
import { $, chip, clock, el, fill, span } from "/page-dom.js";

const EACH = 24, EVERY_MS = 6_000, TYPING_MS = 300;
const KINDS = { gcode: "G-code", stl: "STL", "3mf": "3MF", bgcode: "binary G-code", "gcode.3mf": "sliced 3MF" };
const COLOUR = /^#[0-9a-f]{6}/i;

export const bytes = (count) => (count < 1e3 ? `${count} B` : count < 1e6 ? `${(count / 1e3).toFixed(0)} kB` : count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(2)} GB`);
const side = (box, axis) => (box.high[axis] - box.low[axis]).toFixed(1).replace(/\.0$/, "");
const size = (box) => `${side(box, "x_mm")} × ${side(box, "y_mm")} × ${side(box, "z_mm")} mm`;

// farm: {api, toast, may, pictures}.
export function makeFiles(farm) {
  let shown = [], following = null, many = EACH, read = 0, asking = 0;

  const wanted = () => {
    const asked = new URLSearchParams({ limit: String(many) });
    for (const name of ["name", "kind", "material"]) if ($("file-" + name).value.trim()) asked.set(name, $("file-" + name).value.trim());
    return asked;
  };

  // Not at every look of the page, but while something is being read.
  async function refresh(now) {
    if (!now && Date.now() - read < EVERY_MS && !shown.some((file) => file.facts_state === "pending")) return draw();
    const mine = ++asking, found = await farm.api("/api/v1/files?" + wanted());
    if (mine !== asking) return;
    [shown, following, read] = [found.items, found.next, Date.now()];
    draw();
  }

  function draw() {
    const asked = wanted().size > 1;
    fill("files", shown.map(card), asked ? "No file fits." : "No file is stored yet. Files come by the API, with a job or before it.");
    $("more-files").hidden = !following;
    farm.pictures.watch();
  }

  function tool(each) {
    const swatch = COLOUR.test(each.colour || "") ? el("span", { class: "swatch", "aria-hidden": "true" }) : null;
    if (swatch) swatch.style.backgroundColor = each.colour.slice(0, 7);
    const amount = each.weight_g !== null ? `${each.weight_g.toFixed(1)} g` : each.length_mm !== null ? `${(each.length_mm / 1000).toFixed(2)} m` : "";
    const cost = each.cost !== null ? `cost ${each.cost.toFixed(2)}` : "";
    const nozzle = each.nozzle_mm !== null ? `${each.nozzle_mm} mm nozzle` : "", heat = each.hotend_celsius ?? each.first_layer_hotend_celsius;
    const told = [each.filament_type || each.filament_name, amount, cost, nozzle, heat !== null ? `${heat} °C` : ""].filter(Boolean);
    return told.length ? el("li", {}, swatch, told.join(" · ")) : null;
  }

  // Tools that the file says it does not use are not in the way.
  const isUsed = (each) => ![each.length_mm, each.weight_g, each.volume_mm3].some((amount) => amount !== null) || each.length_mm > 0 || each.weight_g > 0 || each.volume_mm3 > 0;

  function known(facts) {
    const layers = [facts.layer_count && `${facts.layer_count} layers`, facts.layer_height_mm && `of ${facts.layer_height_mm} mm`].filter(Boolean).join(" ");
    const box = facts.model_bounds || facts.bounds;
    const made = [facts.slicer && [facts.slicer, facts.slicer_version].filter(Boolean).join(" "), facts.printer_model && `for ${facts.printer_model}`].filter(Boolean).join(" ");
    const model = facts.triangles !== null ? [`${facts.triangles.toLocaleString()} triangles`, facts.volume_mm3 !== null && `${(facts.volume_mm3 / 1000).toFixed(1)} cm³`,
      facts.watertight === false && "not closed"].filter(Boolean).join(" · ") : "";
    return [
      el("p", {}, [facts.estimated_seconds !== null && span(facts.estimated_seconds), layers, box && size(box)].filter(Boolean).join(" · ")),
      model ? el("p", {}, model) : null, made ? el("p", {}, made) : null,
      facts.tools.length ? el("ul", { class: "tools" }, facts.tools.filter(isUsed).map(tool)) : null,
      facts.needs_person ? el("p", { class: "held" }, "It stands still until somebody comes.") : null,
      ...facts.warnings.map((warned) => el("p", { class: "held" }, warned.text))];
  }

  function card(file) {
    const remove = farm.may("operator") ? el("button", { onclick: () => erase(file), "data-key": "delete:" + file.sha256, "aria-label": `Delete: ${file.name}` }, "Delete") : null;
    return el("article", { class: "card file", "aria-label": file.name },
      farm.pictures.picture(file.thumbnail_url, 96),
      el("div", {}, el("h3", {}, file.name, chip(KINDS[file.kind] || file.kind, "off")),
        file.facts ? known(file.facts) : el("p", { class: file.facts_reason ? "why" : "" }, file.facts_reason || "It is being read."),
        el("p", {}, `${bytes(file.size_bytes)} · ${file.created_at ? clock(file.created_at) : ""}`),
        remove ? el("div", { class: "buttons" }, remove) : null));
  }

  async function erase(file) {
    if (!confirm(`Delete ${file.name}? No new job can be made of it.`)) return;
    try { await farm.api(`/api/v1/files/${file.sha256}`, { method: "DELETE" }); } catch (error) { farm.toast(error.message); }
    await again();
  }

  async function again() {
    try { await refresh(true); } catch (error) { farm.toast(error.message); }
  }

  function changed() { many = EACH; clearTimeout(changed.timer); changed.timer = setTimeout(again, TYPING_MS); }
  for (const name of ["name", "material"]) $("file-" + name).addEventListener("input", changed);
  $("file-kind").addEventListener("change", changed);
  $("file-filter").addEventListener("submit", (event) => { event.preventDefault(); changed(); });
  $("more-files").addEventListener("click", () => { many += EACH; again(); });

  function forget() { [shown, following, many, read] = [[], null, EACH, 0]; $("file-filter").reset(); }

  // Others have stored or deleted some.
  function stale() { read = 0; }

  return { refresh, forget, stale };
}
