// The live page: what it asks of the gateway, when, and where it puts the answers.
import { $, el, fill, short, span } from "/page-dom.js";
import { RANK, byUrgency, isOpen, isOverdue, makeCards } from "/page-cards.js";
import { makeFiles } from "/page-files.js";
import { makePictures } from "/page-pictures.js";

let key = sessionStorage.getItem("printfarm-key") || "";
let stream = null, timer = null, lastPosition = "";
const pictures = makePictures(pictureOf);
const farm = { act, api, toast, pictures, may: (least) => RANK[farm.role] >= RANK[least], role: "viewer", name: "", printers: [], jobs: new Map(), runs: new Map(), failed: [], waiting: new Map(), safety: new Map() };
const cards = makeCards(farm), files = makeFiles(farm);
const events = new Map(), MOST_EVENTS = 150;
const EXPLAINED = 12, EXPLAIN_EVERY_MS = 10_000;
const explainedAt = new Map();

async function api(path, options = {}) {
  const headers = { "X-API-Key": key, ...(options.body ? { "Content-Type": "application/json" } : {}) };
  const answer = await fetch(path, { ...options, headers });
  const body = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw Object.assign(new Error(body?.detail || answer.statusText), { status: answer.status });
  return body;
}

async function pictureOf(path) {
  const answer = await fetch(path, { headers: { "X-API-Key": key } });
  if (!answer.ok) throw Object.assign(new Error(answer.statusText), { status: answer.status });
  return answer.blob();
}

function toast(text) {
  $("toast").textContent = text; $("toast").hidden = false;
  clearTimeout(toast.timer); toast.timer = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

async function act(path, body, question, method = "POST") {
  if (question && !confirm(question)) return;
  try { await api(path, method === "POST" ? { method, body: JSON.stringify(body || {}) } : { method }); } catch (error) { toast(error.message); }
  refresh();
}

// Why each waiting job waits: for the first of them, and not at every look.
async function explain(jobs) {
  const now = Date.now();
  const asked = jobs.filter((job) => job.state === "queued").slice(0, EXPLAINED).filter((job) => now - (explainedAt.get(job.job_id) || 0) > EXPLAIN_EVERY_MS);
  await Promise.all(asked.map(async (job) => {
    explainedAt.set(job.job_id, now);
    const status = await api(`/api/v1/jobs/${job.job_id}/status`);
    if (status.waiting) farm.waiting.set(job.job_id, status.waiting); else farm.waiting.delete(job.job_id);
  }));
  // What people must allow is shown as it is now: somebody else may be the second.
  const held = jobs.filter((job) => job.state === "queued" && farm.waiting.get(job.job_id)?.reasons.some((reason) => reason.code === "needs_override"));
  farm.safety = new Map(await Promise.all(held.slice(0, EXPLAINED).map(async (job) => [job.job_id, await api(`/api/v1/jobs/${job.job_id}/overrides`)])));
}

function figures(stats, jobs) {
  const late = Math.max(stats.jobs_overdue, jobs.filter(isOverdue).length);
  const all = [["to sign off", stats.runs_waiting_for_verdict, "warn"], ["beds to clear", stats.printers_waiting_for_bed_clear, "warn"],
    ["unconfirmed", stats.runs_unconfirmed, "bad"], ["late", late, "bad"], ["at risk", stats.jobs_at_risk, "warn"],
    ["failed today", stats.runs_failed_today, "bad"], ["finished today", stats.runs_finished_today, ""],
    ["jobs open", (stats.jobs_by_state.queued || 0) + (stats.jobs_by_state.active || 0), ""], ["parts owed", stats.parts_owed, ""],
    [stats.agents_unreachable ? `agents, ${stats.agents_unreachable} out of reach` : "agents", stats.agents_connected, stats.agents_unreachable ? "bad" : ""]];
  return all.map(([name, value, tone]) => el("div", { class: "figure " + (value ? tone : "none") }, el("dt", {}, name), el("dd", {}, String(value))));
}

async function refresh() {
  try {
    const open = "/api/v1/jobs?limit=100&state=received&state=preparing&state=queued&state=active&state=cancelling";
    const [stats, printers, opened, recent, finished, unconfirmed, live, failed] = await Promise.all([
      api("/api/v1/dashboard/stats"), api("/api/v1/printers?limit=200"), api(open), api("/api/v1/jobs?limit=20"),
      api("/api/v1/runs?state=finished&limit=100"), api("/api/v1/runs?state=unconfirmed&limit=100"),
      api("/api/v1/runs?limit=200&state=printing&state=paused&state=starting&state=finishing&state=authorised&state=accepted&state=cancelling"),
      api("/api/v1/runs?state=failed&state=fenced&limit=30")]);
    const jobs = [...opened.items.sort(byUrgency), ...recent.items.filter((job) => !isOpen(job))];
    for (const job of [...recent.items, ...opened.items]) farm.jobs.set(job.job_id, job);
    farm.runs = new Map(live.items.map((run) => [run.run_id, run]));
    farm.printers = printers.items;
    farm.failed = failed.items;
    await explain(opened.items);
    draw(stats, jobs, finished.items, unconfirmed.items, failed.items);
    await files.refresh();
  } catch (error) {
    if (error.status === 401) return leave("The key is not, or no longer, valid.");
    toast(error.message);
  }
}

function draw(stats, jobs, finished, unconfirmed, failed) {
  const late = jobs.filter((job) => isOpen(job) && (isOverdue(job) || job.at_risk)).sort((a, b) => a.due_at.localeCompare(b.due_at));
  const rejected = finished.filter((run) => run.verdict && run.verdict.good_parts < run.parts);
  const failures = cards.failureRows([...failed, ...rejected].sort((a, b) => (b.ended_at || "").localeCompare(a.ended_at || "")));
  fill("figures", figures(stats, jobs));
  fill("hands", cards.handCards(finished.filter((run) => !run.verdict), unconfirmed), "Nothing. Well done.");
  const ahead = stats.estimated_backlog_seconds ? `${span(stats.estimated_backlog_seconds)} of printing ahead.` : "";
  $("coming").textContent = [cards.coming(), ahead].filter(Boolean).join(" ");
  $("late-section").hidden = !late.length; fill("late", late.map(cards.lateCard));
  fill("printers", farm.printers.map(cards.printerCard), "No agent has declared a printer yet.");
  fill("jobs", jobs.map(cards.jobRow));
  $("failures-section").hidden = !failures.length; fill("failures", failures);
  fill("events", [...events.values()].sort((a, b) => b.position - a.position).map(eventRow));
  const hands = $("hands").querySelectorAll(".card").length;
  document.title = hands ? `(${hands}) PrintFarm` : "PrintFarm";
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
}

async function earlier(position) {
  try {
    const page = await api(`/api/v1/events?limit=50&cursor=${Math.max(0, position - 50)}`);
    page.items.filter((event) => event.position <= position).forEach(show);
  } catch (error) { toast(error.message); }
}

function show(event) {
  events.set(event.position, event);
  if (event.type === "file.deleted" || event.type === "job.received") files.stale();
  if (events.size > MOST_EVENTS) events.delete(Math.min(...events.keys()));
  soon();
}

function eventRow(event) {
  const at = event.created_at ? new Date(event.created_at).toLocaleTimeString() : "";
  const about = farm.jobs.get(event.data.job_id || event.subject_id)?.name || "";
  const why = event.data.reason || event.data.code || "";
  return el("li", {}, el("time", {}, at), el("b", {}, event.type), el("span", {}, [about, short(event.subject_id), event.data.printer_id].filter(Boolean).join(" · ")),
    el("span", { class: "unit" }, "by " + (event.actor || "the farm")), why ? el("span", { class: "why" }, String(why)) : null);
}

async function enter() {
  if (!key) return leave("");
  try {
    const me = await api("/api/v1/me");
    farm.role = me.role; farm.name = me.name; $("who").textContent = `${me.name} (${me.role})`;
    sessionStorage.setItem("printfarm-key", key);
    $("login").hidden = true; $("farm").hidden = false; $("logout").hidden = false;
    await refresh(); follow(); clearInterval(timer); timer = setInterval(refresh, 3000);
  } catch (error) { leave(key ? error.message : ""); }
}

function leave(why) {
  stream?.abort(); stream = null; clearInterval(timer); key = ""; lastPosition = ""; sessionStorage.removeItem("printfarm-key");
  events.clear(); files.forget(); pictures.forget(); $("farm").hidden = true; $("logout").hidden = true; $("login").hidden = false; $("login-error").textContent = why || "";
  $("live").textContent = "not connected"; $("live").className = "chip off"; $("who").textContent = ""; document.title = "PrintFarm";
  $("key").focus();
}

$("login").addEventListener("submit", (event) => { event.preventDefault(); key = $("key").value.trim(); $("key").value = ""; enter(); });
$("logout").addEventListener("click", () => leave(""));
enter();
