// The dashboard: one event of figures a second goes into the page. Texts of others go in as texts, never as
// markup; nothing here sends anything.
"use strict";

const HISTORY = 120; // events drawn: two minutes
const MINUTE = 60; // events that latency is told over
const AWAY_MS = 2000; // before the next try, where the browser gave up

const history = [];
let source = null;
let retry = null;
let lastEvent = 0;

const element = (id) => document.getElementById(id);

function put(id, text) {
  const at = element(id);
  if (at.textContent !== text) at.textContent = text;
}

// -- numbers as people read them --

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (bytes >= 1024 && at < units.length - 1) { bytes /= 1024; at += 1; }
  return `${short.format(bytes)} ${units[at]}`;
}

function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${whole.format(Math.floor(hours / 24))} days`;
}

function time(us) {
  return us < 1000 ? `${short.format(us)} µs` : us < 1e6 ? `${short.format(us / 1000)} ms` : `${short.format(us / 1e6)} s`;
}

const rate = (perSecond) => (perSecond >= 100 ? whole.format(Math.round(perSecond)) : short.format(perSecond));

// -- histograms --

const BOUNDS = [100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000];

function within(buckets, share) {
  const all = buckets.reduce((sum, count) => sum + count, 0);
  if (all === 0) return "–";
  let left = all * share;
  for (let at = 0; at < buckets.length; at += 1) {
    left -= buckets[at];
    if (left <= 0) return at < BOUNDS.length ? time(BOUNDS[at]) : `over ${time(BOUNDS[at - 1])}`;
  }
  return "–";
}

function latency(name, now, then) {
  const buckets = now.buckets.map((count, at) => count - (then ? then.buckets[at] : 0));
  put(`${name}-50`, within(buckets, 0.5));
  put(`${name}-99`, within(buckets, 0.99));
  put(`${name}-n`, whole.format(buckets.reduce((sum, count) => sum + count, 0)));
}

// -- tables and lists --

function cell(text, kind) {
  const at = document.createElement("td");
  if (kind) at.className = kind;
  if (kind === "name") {
    // A name of whatever direction turns nothing around it.
    const name = document.createElement("bdi");
    name.textContent = text;
    at.title = text;
    at.append(name);
  } else {
    at.textContent = text;
  }
  return at;
}

function fill(id, rows) {
  const body = element(id);
  const made = rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells);
    return row;
  });
  if (made.length === 0) {
    const row = document.createElement("tr");
    const empty = cell(body.dataset.empty, "empty");
    empty.colSpan = 9;
    row.append(empty);
    made.push(row);
  }
  body.replaceChildren(...made);
}

function queueRow(queue, now) {
  return [
    cell(queue.address, "name"), cell(queue.user, "name"), cell(String(queue.device), "n device"),
    cell(whole.format(queue.mails), "n"), cell(size(queue.bytes), "n"),
    cell(queue.oldest_at_ms === null ? "–" : age(now - queue.oldest_at_ms), "n"),
  ];
}

function entry(name, value) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const told = document.createElement("dd");
  term.textContent = name;
  told.textContent = value;
  row.append(term, told);
  return row;
}

function refusals(figures) {
  const rows = Object.entries(figures.counts.refusals)
    .sort((a, b) => b[1] - a[1])
    .slice(0, 8)
    .map(([code, count]) => entry(code.replaceAll("_", " "), whole.format(count)));
  rows.push(
    entry("connections: key not known", whole.format(figures.denied.key)),
    entry("connections: no proof", whole.format(figures.denied.malformed)),
    entry("subscriptions not granted", whole.format(figures.counts.denied_subscriptions)),
    entry("requests dropped", whole.format(figures.counts.dropped_requests)),
  );
  element("refusals").replaceChildren(...rows);
}

// -- the chart --

function draw() {
  const highest = Math.max(0, ...history.map((point) => Math.max(point.accepted, point.delivered)));
  const most = highest || 1;
  const line = (of) => history
    .map((point, at) => {
      const x = 600 - (history.length - 1 - at) * (600 / (HISTORY - 1));
      return `${x.toFixed(1)},${(118 - (point[of] / most) * 112).toFixed(1)}`;
    })
    .join(" ");
  for (const of of ["accepted", "delivered"]) {
    element("chart").querySelector(`.${of}`).setAttribute("points", line(of));
  }
  put("chart-text", highest ? `· highest ${rate(highest)} a second` : "· none yet");
}

// -- one event --

function show(figures) {
  const now = figures.at_ms;
  const { counts, state, queues, machine } = figures;
  const before = history.at(-1);
  // After a restart the counters begin anew.
  const goesOn = before && before.figures.up_ms < figures.up_ms && before.figures.counts.accepted <= counts.accepted;
  const seconds = goesOn ? (figures.up_ms - before.figures.up_ms) / 1000 : 0;
  // The server may tell the same figures twice.
  if (before && goesOn === false && before.figures.up_ms === figures.up_ms) return;
  const perSecond = (of) => (goesOn ? (counts[of] - before.figures.counts[of]) / seconds : 0);
  const point = { figures, accepted: perSecond("accepted"), delivered: perSecond("acknowledged") };
  if (!goesOn) history.forEach((old) => { old.stale = true; });
  history.push(point);
  if (history.length > HISTORY) history.shift();

  document.title = `${whole.format(queues.mails)} waiting · mailserver`;
  put("version", figures.version);
  put("accepted-rate", rate(point.accepted));
  put("delivered-rate", rate(point.delivered));
  const all = (of) => Object.values(of.counts.refusals).reduce((sum, count) => sum + count, 0);
  put("refused-rate", rate(goesOn ? (all(figures) - all(before.figures)) / seconds : 0));
  put("waiting", whole.format(queues.mails));
  put("waiting-queues", queues.waiting_queues === 1 ? "in 1 queue" : `in ${whole.format(queues.waiting_queues)} queues`);
  put("oldest", queues.oldest.length ? age(now - queues.oldest[0].oldest_at_ms) : "none");
  put("sessions", whole.format(state.sessions));

  fill("deepest", queues.deepest.map((queue) => queueRow(queue, now)));
  fill("oldest-queues", queues.oldest.map((queue) => queueRow(queue, now)));
  fill("newest-sessions", state.newest_sessions.map((session) => [
    cell(session.user, "name"), cell(String(session.device), "n"),
    cell(age(now - session.since_ms), "n"), cell(`${age(now - session.seen_ms)} ago`, "n"),
  ]));

  fill("deeds", state.deeds.map((deed) => [
    cell(deed.what), cell(deed.address, "name"), cell(deed.by || "(admin key)", "name"), cell(`${age(now - deed.at_ms)} ago`, "n"),
  ]));

  const fresh = history.filter((old) => !old.stale);
  const then = fresh.length > MINUTE ? fresh[fresh.length - 1 - MINUTE].figures : null;
  latency("ack", figures.ack, then && then.ack);
  latency("sync", figures.sync, then && then.sync);

  put("users", whole.format(queues.users));
  put("devices", whole.format(state.devices));
  put("topics", whole.format(queues.topics));
  put("queues", whole.format(queues.queues));
  put("kept", `${whole.format(state.mails_kept)}, ${size(state.bytes_kept)}`);
  const ports = state.leases_free + state.leases_offered + state.leases_held + state.leases_resting;
  put("leases", `${state.leases_held + state.leases_offered} of ${ports}, ${state.leases_resting} at rest`);
  refusals(figures);
  put("store", size(machine.store_bytes));
  put("disk", size(machine.disk_free_bytes));
  put("memory", `${size(machine.memory_bytes)} of ${size(machine.memory_max_bytes)}`);
  put("commit-queue", size(figures.commit_queue_bytes));
  put("up", age(figures.up_ms));

  const alarm = element("alarm");
  alarm.hidden = !state.disk_low;
  if (state.disk_low) put("alarm", "The disk is nearly full: no new mail is taken until there is room. Reading and acknowledging go on.");
  draw();
}

// -- the stream --

function say(state, text) {
  element("status").dataset.state = state;
  put("status", text);
  document.body.classList.toggle("lost", state === "lost");
}

function listen() {
  clearTimeout(retry);
  if (source) source.close();
  source = new EventSource("/events");
  source.onmessage = (event) => {
    lastEvent = Date.now();
    show(JSON.parse(event.data));
    say("live", "Live");
  };
  source.onerror = () => {
    say("lost", "No connection: the figures below are old. Trying again …");
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(listen, AWAY_MS);
  };
}

// A server that hangs sends nothing and closes nothing.
setInterval(() => {
  if (lastEvent && Date.now() - lastEvent > 5000 && element("status").dataset.state === "live") {
    say("lost", "The server has said nothing for 5 seconds: the figures below are old.");
  }
}, 1000);

listen();
