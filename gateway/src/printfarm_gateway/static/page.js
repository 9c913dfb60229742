"use strict";
// Everything from the farm is shown as text, never as markup.
const $ = (id) => document.getElementById(id);
let key = sessionStorage.getItem("printfarm-key") || "";
let role = "viewer", stream = null, timer = null, lastPosition = "";

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick" || name === "oninput") node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined && child !== "") node.append(child);
  return node;
}

async function api(path, options = {}) {
  const headers = { "X-API-Key": key, ...(options.body ? { "Content-Type": "application/json" } : {}) };
  const answer = await fetch(path, { ...options, headers });
  const body = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw Object.assign(new Error(body?.detail || answer.statusText), { status: answer.status });
  return body;
}

function toast(text) {
  $("toast").textContent = text; $("toast").hidden = false;
  clearTimeout(toast.timer); toast.timer = setTimeout(() => { $("toast").hidden = true; }, 5000);
}

async function act(path, body, question) {
  if (question && !confirm(question)) return;
  try { await api(path, { method: "POST", body: JSON.stringify(body || {}) }); } catch (error) { toast(error.message); }
  refresh();
}

const GOOD = new Set(["idle", "printing", "preparing", "finishing", "completed", "active", "clear", "finished"]);
const BAD = new Set(["error", "failed", "unconfirmed", "emergency_stopped", "locked"]);
function chip(text, tone) {
  const kind = tone || (GOOD.has(text) ? "good" : BAD.has(text) ? "bad" : text === "offline" ? "off" : "warn");
  return el("span", { class: "chip " + kind }, String(text).replaceAll("_", " "));
}
const may = (least) => ({ viewer: 0, operator: 1, admin: 2 })[role] >= ({ viewer: 0, operator: 1, admin: 2 })[least];
const button = (text, onclick, kind) => may("operator") ? el("button", { class: kind || "", onclick }, text) : null;
const percent = (value) => Math.round(value * 100) + " %";
const short = (id) => (id.length === 36 ? id.slice(-8) : id);

function printerCard(p) {
  const base = "/api/v1/printers/" + p.printer_id, r = p.latest;
  const heat = (r?.heaters || []).map((h) => `${h.name} ${h.current.toFixed(0)}/${h.target.toFixed(0)} °C`).join(" · ");
  const printing = p.active_run_id && r?.progress !== null && r?.progress !== undefined;
  const gates = [p.gates.held && "held", p.gates.locked && "locked", p.gates.emergency_stopped && "emergency_stopped"].filter(Boolean);
  return el("div", { class: "card" + (p.gates.emergency_stopped || p.gates.locked ? " stop" : "") },
    el("h3", {}, p.name, chip(p.agent_reachable ? p.state : "offline"), chip("bed " + p.bed.state, p.bed.state === "clear" ? "good" : "warn"),
      gates.map((g) => chip(g))),
    el("p", {}, [p.abilities.model, p.abilities.material, p.abilities.colour, p.abilities.nozzle_diameter_mm && p.abilities.nozzle_diameter_mm + " mm"]
      .filter(Boolean).join(" · ")),
    heat ? el("p", {}, heat) : null,
    printing ? el("progress", { max: 1, value: r.progress, "aria-label": "progress" }) : null,
    printing ? el("p", {}, `run ${short(p.active_run_id)} · ${percent(r.progress)}` + (r.layer ? ` · layer ${r.layer}` : "")) : null,
    p.gates.hold_reason ? el("p", {}, "held: " + p.gates.hold_reason) : null,
    p.gates.lock_reason && p.gates.locked ? el("p", {}, p.gates.lock_reason) : null,
    el("div", { class: "buttons" },
      p.bed.state !== "clear" && !p.active_run_id ? button("Bed is clear", () => act(base + "/bed/clear", {}, `Is the plate of ${p.name} empty?`)) : null,
      p.active_run_id && p.state === "printing" ? button("Pause", () => act(`/api/v1/runs/${p.active_run_id}/pause`)) : null,
      p.active_run_id && p.state === "paused" ? button("Resume", () => act(`/api/v1/runs/${p.active_run_id}/resume`)) : null,
      p.active_run_id ? button("Cancel run", () => act(`/api/v1/runs/${p.active_run_id}/cancel`, {}, `Cancel the print on ${p.name}?`)) : null,
      gates.length ? button("Release", () => act(base + "/release", {}, `Release ${p.name}? Look at the machine first.`))
        : button("Hold", () => act(base + "/hold", { reason: "held from the page" })),
      button("Emergency stop", () => act(base + "/emergency-stop", { reason: "from the page" }, `Stop ${p.name} NOW?`), "danger")));
}

// What was typed outlives the next drawing of its card.
const counts = new Map();

function handCards(runs, printers) {
  const cards = [];
  for (const run of runs.finished) {
    const give = (good_parts, reason) => act(`/api/v1/runs/${run.run_id}/verdict`, { good_parts, reason });
    const count = el("input", { type: "number", min: 0, max: run.parts, value: counts.get(run.run_id) ?? run.parts, "aria-label": "good parts",
      oninput: (event) => counts.set(run.run_id, event.target.value) });
    const sign = () => {
      const good = Number(count.value);
      if (!Number.isInteger(good) || good < 0 || good > run.parts) return toast(`0 to ${run.parts} parts lay on this plate`);
      if (good === run.parts || confirm(`${run.parts - good} of ${run.parts} part(s) are bad and will be printed again?`))
        give(good, good === run.parts ? "" : "rejected from the page");
    };
    cards.push(el("div", { class: "card attention" }, el("h3", {}, `Take ${run.parts} part(s) off ${run.printer_id}`),
      el("p", {}, `Run ${short(run.run_id)} finished` + (run.verified ? "." : ", but its end is not proven: look closely.")),
      may("operator") ? el("div", { class: "buttons" }, count, el("span", { class: "unit" }, `of ${run.parts} good`), button("Sign off, bed clear", sign, "main")) : null));
  }
  for (const run of runs.unconfirmed) {
    const resolve = (outcome) => () => act(`/api/v1/runs/${run.run_id}/resolve`, { outcome, reason: "from the page" },
      `Say for the record that run ${short(run.run_id)} on ${run.printer_id} is: ${outcome}?`);
    cards.push(el("div", { class: "card stop" }, el("h3", {}, `Look at ${run.printer_id}`),
      el("p", {}, `Run ${short(run.run_id)} may still be printing: ${run.reason || "its agent is out of reach"}.`),
      el("div", { class: "buttons" }, button("It finished", resolve("finished")), button("It failed", resolve("failed")),
        button("It never started", resolve("never_started")))));
  }
  for (const p of printers) if (p.gates.locked) cards.push(el("div", { class: "card stop" }, el("h3", {}, `${p.name} is locked`), el("p", {}, p.gates.lock_reason)));
  return cards;
}

function jobRow(job) {
  const base = "/api/v1/jobs/" + job.job_id;
  const open = !["completed", "failed", "cancelled"].includes(job.state);
  return el("tr", {},
    el("td", {}, job.name, el("small", {}, `${short(job.job_id)} · ${job.file_name}`),
      job.held && job.hold_reason ? el("small", {}, "held: " + job.hold_reason) : null, job.failure_reason ? el("small", {}, job.failure_reason) : null),
    el("td", {}, chip(job.state), job.held ? chip("held") : null, job.at_risk ? chip("at risk", "bad") : null),
    el("td", {}, el("progress", { max: 1, value: job.progress, "aria-label": "progress" }), el("small", {}, percent(job.progress))),
    el("td", {}, `${job.good_parts} of ${job.quantity}`),
    el("td", {}, job.due_at ? new Date(job.due_at).toLocaleString() : "–"),
    el("td", {}, open ? el("div", { class: "buttons" }, [
      job.held ? button("Release", () => act(base + "/release")) : button("Hold", () => act(base + "/hold", { reason: "held from the page" })),
      job.state !== "cancelling" ? button("Cancel", () => act(base + "/cancel", {}, `Cancel job ${job.name}?`)) : null]) : null));
}

function fill(id, nodes, empty) {
  // Nobody's hand is pushed aside while he types.
  if ($(id).contains(document.activeElement) && document.activeElement.tagName === "INPUT") return;
  $(id).replaceChildren(...(nodes.length ? nodes : [el("p", { class: "empty" }, empty)]));
}

async function refresh() {
  try {
    const [stats, printers, jobs, finished, unconfirmed] = await Promise.all([
      api("/api/v1/dashboard/stats"), api("/api/v1/printers?limit=200"), api("/api/v1/jobs?limit=25"),
      api("/api/v1/runs?state=finished&limit=50"), api("/api/v1/runs?state=unconfirmed&limit=50")]);
    const figures = [["jobs open", (stats.jobs_by_state.queued || 0) + (stats.jobs_by_state.active || 0)], ["parts owed", stats.parts_owed],
      ["beds to clear", stats.printers_waiting_for_bed_clear], ["wait for a verdict", stats.runs_waiting_for_verdict],
      ["unconfirmed", stats.runs_unconfirmed], ["at risk", stats.jobs_at_risk], ["agents connected", stats.agents_connected],
      ["finished today", stats.runs_finished_today], ["failed today", stats.runs_failed_today]];
    $("figures").replaceChildren(...figures.map(([name, value]) => el("div", { class: "figure" }, el("b", {}, String(value)), el("span", {}, name))));
    fill("hands", handCards({ finished: finished.items.filter((r) => !r.verdict), unconfirmed: unconfirmed.items }, printers.items), "Nothing. Well done.");
    fill("printers", printers.items.map(printerCard), "No agent has declared a printer yet.");
    $("jobs").replaceChildren(...jobs.items.map(jobRow));
  } catch (error) {
    if (error.status === 401) return leave("The key is not, or no longer, valid.");
    toast(error.message);
  }
}

function soon() { if (!soon.waiting) soon.waiting = setTimeout(() => { soon.waiting = null; refresh(); }, 250); }

async function follow() {
  const mine = stream = new AbortController();
  while (stream === mine) {
    try {
      const headers = { "X-API-Key": key, ...(lastPosition ? { "Last-Event-ID": lastPosition } : {}) };
      const answer = await fetch("/api/v1/events/stream", { headers, signal: mine.signal });
      if (!answer.ok) throw new Error(answer.statusText);
      $("live").textContent = "live"; $("live").className = "chip good";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        rest += value.replaceAll("\r\n", "\n");
        const blocks = rest.split("\n\n"); rest = blocks.pop();
        blocks.forEach(take);
      }
    } catch (error) { if (error.name === "AbortError") return; }
    $("live").textContent = "reconnecting"; $("live").className = "chip warn";
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

function take(block) {
  const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
  if (fields.id && !lastPosition) earlier(Number(fields.id));
  if (fields.id) lastPosition = fields.id;
  if (!fields.data || fields.event === "error") return;
  show(JSON.parse(fields.data));
  soon();
}

async function earlier(position) {
  try {
    const page = await api(`/api/v1/events?limit=50&cursor=${Math.max(0, position - 50)}`);
    page.items.filter((event) => event.position <= position).forEach(show);
  } catch (error) { toast(error.message); }
}

function show(event) {
  const at = event.created_at ? new Date(event.created_at).toLocaleTimeString() : "";
  $("events").prepend(el("li", {}, `${at}  ${event.type}  ${short(event.subject_id)}  ${event.actor}`));
  while ($("events").children.length > 200) $("events").lastChild.remove();
}

async function enter() {
  if (!key) return leave("");
  try {
    const me = await api("/api/v1/me");
    role = me.role; $("who").textContent = `${me.name} (${me.role})`;
    sessionStorage.setItem("printfarm-key", key);
    $("login").hidden = true; $("farm").hidden = false; $("logout").hidden = false;
    refresh(); follow(); clearInterval(timer); timer = setInterval(refresh, 3000);
  } catch (error) { leave(key ? error.message : ""); }
}

function leave(why) {
  stream?.abort(); stream = null; clearInterval(timer); key = ""; sessionStorage.removeItem("printfarm-key");
  $("farm").hidden = true; $("logout").hidden = true; $("login").hidden = false; $("login-error").textContent = why || "";
  $("live").textContent = "not connected"; $("live").className = "chip off"; $("who").textContent = "";
}

$("login").addEventListener("submit", (event) => { event.preventDefault(); key = $("key").value.trim(); $("key").value = ""; enter(); });
$("logout").addEventListener("click", () => leave(""));
enter();
