// How printers, runs and jobs look. Values in, nodes out; what a button does is handed in.
import { ago, bar, chip, clock, el, parts, percent, short, span } from "/page-dom.js";

export const RANK = { viewer: 0, operator: 1, admin: 2 };
// Reasons that no waiting mends.
const NEVER_FITS = new Set(["volume", "nozzle", "material", "colour", "tags", "not_named",
  "printer_model", "temperature", "exceeds_volume"]);
const OPEN_STATES = ["received", "preparing", "queued", "active", "cancelling"];
export const isOpen = (job) => OPEN_STATES.includes(job.state);

// What the farm turns to next, first: late, at risk, printing; then as the queue is ordered.
export function byUrgency(a, b) {
  const rank = (job) => [isOverdue(job) ? 0 : job.at_risk ? 1 : job.state === "queued" ? 3 : 2, -job.priority, job.due_at || "9", job.created_at];
  const [first, second] = [rank(a), rank(b)];
  const at = first.findIndex((value, index) => value !== second[index]);
  return at < 0 ? 0 : first[at] < second[at] ? -1 : 1;
}

export const isOverdue = (job) => job.due_at && isOpen(job) && new Date(job.due_at) < new Date();

// Where the farm reckons costs, and all of it is known.
const cost = (run) => run.cost && run.cost.total !== null ? ` It cost ${Number(run.cost.total).toFixed(2)} ${run.cost.currency}.` : "";

// What was typed, or unfolded, outlives the next drawing.
const counts = new Map(), unfolded = new Set();

// farm: {act, toast, may, name, pictures, printers, jobs, runs, failed, waiting, safety}, as the page last saw it.
export function makeCards(farm) {
  const may = farm.may;
  const button = (text, about, onclick, kind) => may("operator")
    ? el("button", { class: kind || "", onclick, "data-key": `${text}:${about}`, "aria-label": `${text}: ${about}` }, text) : null;
  const jobName = (id) => farm.jobs.get(id)?.name || `job ${short(id)}`;
  const pictureOf = (id, size) => { const job = farm.jobs.get(id); return job ? farm.pictures.picture(job.thumbnail_url, size) : null; };
  const printerName = (id) => farm.printers.find((p) => p.printer_id === id)?.name || id;

  const ask = (path, question, more) => () => {
    const reason = prompt(question, "");
    if (reason !== null) farm.act(path, { reason, ...more });
  };

  function printerCard(p) {
    const base = "/api/v1/printers/" + p.printer_id, r = p.latest, run = p.active_run_id;
    const job = run && farm.runs.get(run) ? farm.runs.get(run).job_id : null;
    const heat = (r?.heaters || []).map((h) => `${h.name} ${h.current.toFixed(0)}${h.target ? "/" + h.target.toFixed(0) : ""} °C`).join(" · ");
    const printing = run && r?.progress !== null && r?.progress !== undefined;
    const gates = [p.gates.held && "held", p.gates.locked && "locked", p.gates.emergency_stopped && "emergency_stopped"].filter(Boolean);
    const bed = run ? null : chip("bed " + p.bed.state, p.bed.state === "clear" ? "good" : "warn");
    const what = [p.abilities.model, p.abilities.material, p.abilities.colour, p.abilities.nozzle_diameter_mm && p.abilities.nozzle_diameter_mm + " mm"];
    const left = r?.remaining_seconds ? `${span(r.remaining_seconds)} left` : "";
    return el("article", { class: "card" + (p.gates.emergency_stopped || p.gates.locked ? " stop" : ""), "aria-label": p.name },
      el("h3", {}, p.name, chip(p.agent_reachable ? p.state : "offline"), bed, gates.map((g) => chip(g))),
      job ? el("p", { class: "job" }, pictureOf(job, 32), jobName(job)) : null,
      printing ? bar(r.progress, `progress on ${p.name}`) : null,
      printing ? el("p", {}, [percent(r.progress), left, r.layer && `layer ${r.layer}${r.layer_count ? " of " + r.layer_count : ""}`].filter(Boolean).join(" · ")) : null,
      heat ? el("p", {}, heat) : null,
      el("p", {}, what.filter(Boolean).join(" · ")),
      p.gates.hold_reason ? el("p", { class: "held" }, `held by ${p.gates.hold_actor || "somebody"}: ${p.gates.hold_reason}`) : null,
      p.gates.lock_reason && p.gates.locked ? el("p", { class: "why" }, p.gates.lock_reason) : null,
      el("div", { class: "buttons" },
        run && p.state === "printing" ? button("Pause", p.name, () => farm.act(`/api/v1/runs/${run}/pause`)) : null,
        run && p.state === "paused" ? button("Resume", p.name, () => farm.act(`/api/v1/runs/${run}/resume`), "main") : null,
        run ? button("Cancel run", p.name, () => farm.act(`/api/v1/runs/${run}/cancel`, {}, `Cancel the print on ${p.name}? Its parts will be printed again.`)) : null,
        gates.length ? button("Release", p.name, () => farm.act(base + "/release", {}, `Release ${p.name}? Look at the machine first.`))
          : button("Hold", p.name, ask(base + "/hold", `Why is ${p.name} held? No new run starts on it.`)),
        button("Emergency stop", p.name, () => farm.act(base + "/emergency-stop", { reason: "from the page" }, `Stop ${p.name} NOW?`), "danger")));
  }

  function signOff(run) {
    const name = printerName(run.printer_id);
    const give = (good_parts, reason) => farm.act(`/api/v1/runs/${run.run_id}/verdict`, { good_parts, reason });
    const count = el("input", { type: "number", min: 0, max: run.parts, value: counts.get(run.run_id) ?? run.parts, "aria-label": `good parts of ${name}`,
      oninput: (event) => counts.set(run.run_id, event.target.value) });
    const sign = () => {
      const good = Number(count.value);
      if (count.value === "" || !Number.isInteger(good) || good < 0 || good > run.parts) return farm.toast(`0 to ${run.parts} parts lay on this plate`);
      if (good === run.parts) return give(good, "");
      const reason = prompt(`${run.parts - good} of ${parts(run.parts)} will be printed again. What is wrong with them?`, "");
      if (reason !== null) give(good, reason || "rejected from the page");
    };
    return el("article", { class: "card attention" }, el("h3", {}, `Take ${parts(run.parts)} off ${name}`),
      el("p", { class: "job" }, pictureOf(run.job_id, 32), jobName(run.job_id)),
      el("p", {}, `Run ${short(run.run_id)} finished ${run.ended_at ? ago(run.ended_at) + " ago" : ""}` + (run.verified ? "." : ", but its end is not proven: look closely.") + cost(run)),
      may("operator") ? el("div", { class: "buttons" }, count, el("span", { class: "unit" }, `of ${run.parts} good`), button("Sign off, bed clear", name, sign, "main")) : null);
  }

  function unconfirmed(run) {
    const name = printerName(run.printer_id);
    const resolve = (outcome) => () => farm.act(`/api/v1/runs/${run.run_id}/resolve`, { outcome, reason: "from the page" },
      `Say for the record that run ${short(run.run_id)} on ${name} is: ${outcome.replace("_", " ")}?`);
    return el("article", { class: "card stop" }, el("h3", {}, `Look at ${name}`), el("p", { class: "job" }, jobName(run.job_id)),
      el("p", {}, `Run ${short(run.run_id)} may still be printing: ${run.reason || "its agent is out of reach"}.`),
      el("div", { class: "buttons" }, button("It finished", name, resolve("finished")), button("It failed", name, resolve("failed")),
        button("It never started", name, resolve("never_started"))));
  }

  function handCards(finished, doubtful) {
    const named = new Set([...finished, ...doubtful].map((run) => run.printer_id));
    const cards = doubtful.map(unconfirmed);
    for (const p of farm.printers) {
      const base = "/api/v1/printers/" + p.printer_id;
      const stopped = p.gates.emergency_stopped;
      if (p.gates.locked || stopped) {
        cards.push(el("article", { class: "card stop" }, el("h3", {}, `${p.name} ${stopped ? "was stopped" : "is locked"}`),
          el("p", {}, p.gates.lock_reason || "Find the cause and reset the machine, then release it."),
          el("div", { class: "buttons" }, button("Release after looking", p.name, () => farm.act(base + "/release", {}, `Release ${p.name}? Look at the machine first.`)))));
      }
    }
    cards.push(...[...finished].sort((a, b) => (a.ended_at || "").localeCompare(b.ended_at || "")).map(signOff));
    for (const p of farm.printers) {
      const base = "/api/v1/printers/" + p.printer_id;
      if (p.bed.state !== "clear" && !p.active_run_id && !named.has(p.printer_id)) {
        cards.push(el("article", { class: "card attention" }, el("h3", {}, `Clear the bed of ${p.name}`),
          el("p", {}, p.bed.state === "unknown" ? "Nobody has said whether its plate is empty. Nothing starts on it until then." : "Something lies on its plate. Nothing starts on it until then."),
          el("div", { class: "buttons" }, button("Bed is clear", p.name, () => farm.act(base + "/bed/clear", p.bed.run_id ? { run_id: p.bed.run_id } : {}, `Is the plate of ${p.name} empty?`), "main"))));
      }
      if (p.active_run_id && p.state === "paused") {
        cards.push(el("article", { class: "card attention" }, el("h3", {}, `${p.name} is paused`), el("p", {}, p.latest?.message || "It goes on when somebody resumes it."),
          el("div", { class: "buttons" }, button("Resume now", p.name, () => farm.act(`/api/v1/runs/${p.active_run_id}/resume`), "main"))));
      }
    }
    cards.push(...overrideCards());
    return cards;
  }

  // What the safety check found, for two people to allow.
  function overrideCard(job, safety) {
    const base = `/api/v1/jobs/${job.job_id}/overrides`;
    const asked = safety.findings.filter((finding) => finding.answer === "operator" || finding.answer === "admin");
    const given = safety.overrides.filter((one) => !one.revoked_at);
    const mine = given.find((one) => one.actor === farm.name);
    const lines = asked.slice(0, 8).map((f) => el("li", {}, (f.line ? `line ${f.line}: ` : "") + f.text,
      f.answer === "admin" ? el("small", {}, "for two admins to allow") : null));
    return el("article", { class: "card attention" }, el("h3", {}, `${job.name} needs two people's word`),
      el("p", {}, `Found in ${job.file_name}, for ${safety.waiting_firmwares.map((kind) => (kind === "any" ? "printers of unknown firmware" : kind)).join(", ")}:`),
      el("ul", { class: "findings" }, lines, asked.length > 8 ? el("li", {}, `and ${asked.length - 8} more`) : null),
      el("p", {}, given.length ? "allowed by " + given.map((one) => `${one.actor}: ${one.reason}`).join("; ") : "allowed by nobody yet"),
      el("div", { class: "buttons" },
        mine ? button("Take my word back", job.name, () => farm.act(`${base}/${mine.override_id}`, null, `Take your word for ${job.name} back?`, "DELETE"))
          : button("Allow it", job.name, ask(base, `Why may ${job.name} be printed all the same? It is kept on record.`)),
        button("Cancel job", job.name, () => farm.act(`/api/v1/jobs/${job.job_id}/cancel`, {}, `Cancel job ${job.name}?`))));
  }

  const overrideCards = () => [...farm.safety].map(([id, safety]) => [farm.jobs.get(id), safety])
    .filter(([job, safety]) => job && isOpen(job) && safety.needs_override).map(([job, safety]) => overrideCard(job, safety));

  function coming() {
    const soon = farm.printers.filter((p) => p.active_run_id && p.latest?.remaining_seconds)
      .sort((a, b) => a.latest.remaining_seconds - b.latest.remaining_seconds).slice(0, 4);
    return soon.length ? "Next to finish: " + soon.map((p) => `${p.name} in ${span(p.latest.remaining_seconds)}`).join(" · ") + "." : "";
  }

  // In one sentence: nothing fits, or what keeps those busy that do fit.
  function waitingText(byPrinter, found) {
    const able = [...byPrinter].filter(([, reasons]) => !reasons.some((reason) => NEVER_FITS.has(reason.code)));
    if (!byPrinter.size) return found.summary;
    if (able.length) {
      const named = able.slice(0, 3).map(([id, reasons]) => printerName(id) + (reasons[0].code === "busy" ? " is busy with another run" : ": " + reasons[0].explanation));
      return `Waits. ${named.join("; ")}${able.length > 3 ? `; and ${able.length - 3} more` : ""}.`;
    }
    const [most] = [...Map.groupBy(byPrinter.values(), (reasons) => reasons[0].explanation)].sort((a, b) => b[1].length - a[1].length);
    return `No printer fits: ${most[0]}${most[1].length < byPrinter.size ? `, on ${most[1].length} of ${byPrinter.size}` : ""}.`;
  }

  function whyItWaits(job) {
    const found = farm.waiting.get(job.job_id);
    if (!found || job.state !== "queued") return null;
    const byPrinter = new Map();
    for (const reason of found.reasons) byPrinter.set(reason.printer_id, [...(byPrinter.get(reason.printer_id) || []), reason]);
    const text = waitingText(byPrinter, found);
    if (!byPrinter.size) return el("small", {}, text);
    return el("details", { open: unfolded.has(job.job_id) ? "" : null, ontoggle: (event) => unfolded[event.target.open ? "add" : "delete"](job.job_id) },
      el("summary", { "data-key": "why:" + job.job_id }, text),
      el("ul", {}, [...byPrinter].map(([id, reasons]) => el("li", {}, `${printerName(id)}: ${reasons.map((reason) => reason.explanation).join("; ")}`))));
  }

  function lastTry(job) {
    const run = isOpen(job) ? farm.failed.find((each) => each.job_id === job.job_id && each.reason) : null;
    return run ? el("small", { class: "why" }, `last try, on ${printerName(run.printer_id)}: ${run.reason}`) : null;
  }

  function dueText(job) {
    if (!job.due_at) return "–";
    if (isOverdue(job)) return `${clock(job.due_at)}, ${ago(job.due_at)} ago`;
    return clock(job.due_at);
  }

  function lateCard(job) {
    const overdue = isOverdue(job);
    return el("article", { class: "card " + (overdue ? "stop" : "attention") }, el("h3", {}, job.name, chip(overdue ? "late" : "at risk", overdue ? "bad" : "warn")),
      el("p", {}, `Due ${dueText(job)}. ` + (job.expected_end_at ? `Expected by ${clock(job.expected_end_at)}.` : "No end in sight: no printer can take it now.")),
      el("p", {}, `${job.good_parts} of ${job.quantity} good, ${job.pending_parts} printing or to sign off.`),
      whyItWaits(job));
  }

  function jobRow(job) {
    const base = "/api/v1/jobs/" + job.job_id, open = isOpen(job);
    const cell = (label, ...children) => el("td", { "data-label": label }, ...children);
    return el("tr", { class: open ? "" : "over" },
      cell("Job", pictureOf(job.job_id, 48), el("span", { class: "name" }, job.name),
        el("small", {}, `${short(job.job_id)} · ${job.file_name}${job.file_deleted_at ? ", deleted since" : ""}`),
        job.held && job.hold_reason ? el("small", {}, "held: " + job.hold_reason) : null,
        job.failure_reason ? el("small", { class: "why" }, job.failure_reason) : null, lastTry(job), whyItWaits(job)),
      cell("State", chip(job.state), job.held ? chip("held") : null, isOverdue(job) ? chip("late", "bad") : job.at_risk && open ? chip("at risk", "warn") : null),
      cell("Progress", bar(job.progress, `progress of ${job.name}`), el("small", {}, percent(job.progress)
        + (open && job.expected_end_at ? ` · by ${clock(job.expected_end_at)}` : ""))),
      cell("Good parts", `${job.good_parts} of ${job.quantity}`),
      cell("Due", dueText(job)),
      cell("", open ? el("div", { class: "buttons" },
        job.held ? button("Release", job.name, () => farm.act(base + "/release")) : button("Hold", job.name, ask(base + "/hold", `Why is ${job.name} held? Nothing new of it starts.`)),
        job.state !== "cancelling" ? button("Cancel", job.name, () => farm.act(base + "/cancel", {}, `Cancel job ${job.name}?`)) : null) : null));
  }

  // One line for what failed in the same way on the same printer, the newest first.
  function failureRows(runs) {
    const groups = new Map();
    for (const run of runs) {
      const why = run.reason || run.verdict?.reason || run.reason_code.replaceAll("_", " ");
      if (!why) continue;
      const name = [run.job_id, run.printer_id, why].join("\n");
      groups.set(name, { run, why, count: (groups.get(name)?.count || 0) + 1, at: groups.get(name)?.at || run.ended_at || run.created_at });
    }
    return [...groups.values()].slice(0, 12).map(({ run, why, count, at }) => el("li", {},
      el("time", { datetime: at }, clock(at)), chip(run.verdict ? "rejected" : run.state === "fenced" ? "not started" : "failed", run.state === "fenced" ? "warn" : "bad"),
      el("span", { class: "name" }, `${jobName(run.job_id)} on ${printerName(run.printer_id)}`), el("span", { class: "why" }, why),
      count > 1 ? el("span", { class: "unit" }, `${count} times`) : null));
  }

  return { printerCard, handCards, coming, lateCard, jobRow, failureRows };
}
