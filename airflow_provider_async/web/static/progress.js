// SPDX-License-Identifier: Apache-2.0
//
// Reads a task's progress from Airflow's own REST API, with the rights of whoever looks, and shows it.
// Labels, items and errors come from users' data: they become text nodes, and never HTML.

const KEY = "async_progress";
const VERSION = 1;
const POLL = 2500; // milliseconds, as all that follow
const IDLE_POLL = 5000;
const HIDDEN_POLL = 30000;
const MAX_POLL = 30000;
const SILENCE = 60000;
const ANNOUNCE = 20000;
const ENDED = new Set(["success", "failed", "skipped", "upstream_failed", "removed"]);

const element = (id) => document.getElementById(id);

// --- which task ------------------------------------------------------------------------------------------------------

// Airflow 3.1 puts the values into the address as they are, "+" included; later ones encode them.
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function whichTask() {
  const found = /^\?dag=(.*)&run=(.*)&task=(.*)&mi=(.*)$/.exec(location.search);
  if (found === null) return null;
  const [dag, run, task, index] = found.slice(1).map(decode);
  // The placeholder stays as it is where a task is not mapped.
  return { dag, run, task, index: /^\d+$/.test(index) ? Number(index) : -1 };
}

const ti = whichTask();

function apiPath(...parts) {
  const path = ["dags", ti.dag, "dagRuns", ti.run, "taskInstances", ti.task, ...parts];
  return path.map((part) => encodeURIComponent(part)).join("/");
}

// --- Airflow's REST API ----------------------------------------------------------------------------------------------

class Refused extends Error {}

const headers = { Accept: "application/json" };

async function read(path) {
  const options = { headers, cache: "no-store", signal: AbortSignal.timeout(20000) };
  const answer = await fetch(new URL(`../api/v2/${path}`, location.href), options);
  if (answer.status === 404) return null;
  if (answer.status === 401 && headers.Authorization === undefined) {
    // Airflow 3.0 takes no cookie: its UI keeps the token here, and sends it like this.
    const token = localStorage.getItem("token");
    if (token !== null) {
      headers.Authorization = `Bearer ${token}`;
      return read(path);
    }
  }
  if (answer.status === 401) throw new Refused("You are not logged in, or no longer: reload Airflow's page.");
  if (answer.status === 403) throw new Refused("You may not see this task's progress.");
  if (!answer.ok) throw new Error(`Airflow answered with status ${answer.status}`);
  return answer.json();
}

// Asking for what is not there would leave an error in the console each time: the link says whether it is.
let source = null;
let reportedTry = null;

async function readValue(task) {
  if (reportedTry !== task.try_number) {
    const links = (await read(`${apiPath("links")}?map_index=${ti.index}`))?.extra_links ?? {};
    if (!("Progress" in links)) return { never: true };
    if (links.Progress === null) return {};
    reportedTry = task.try_number;
  }
  if (source === null) {
    const [major, minor] = ((await read("version"))?.version ?? "").split(".").map(Number);
    source = major > 3 || (major === 3 && minor >= 3) ? "state-store" : "xcomEntries";
  }
  const native = source === "xcomEntries" ? "&deserialize=false" : "";
  const entry = await read(`${apiPath(source, KEY)}?map_index=${ti.index}${native}`);
  return entry === null ? {} : { found: entry.value };
}

// Returns [value, null], or [null, what is wrong with it].
function parse(found) {
  let value = found;
  try {
    while (typeof value === "string") value = JSON.parse(value);
  } catch {
    value = null;
  }
  if (value === null || typeof value !== "object" || !("version" in value)) {
    return [null, "The task's report cannot be read: it is not the JSON that was expected. " +
      "Where a custom backend keeps such values elsewhere, this page cannot get at them; the task's log has them."];
  }
  if (value.version !== VERSION) {
    return [null, `The task's report is of version ${String(value.version)}, this page knows version ${VERSION}: ` +
      "the workers and the API server have different versions of the package. The task's log has the numbers."];
  }
  return [value, null];
}

// --- words -----------------------------------------------------------------------------------------------------------

const integers = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const decimals = new Intl.NumberFormat("en", {
  maximumFractionDigits: 2,
  maximumSignificantDigits: 2,
  roundingPriority: "lessPrecision",
});
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const list = (value) => (Array.isArray(value) ? value.filter((entry) => typeof (entry ?? "") === "object") : []);
const text = (value) => (value === undefined || value === null ? "" : String(value));

function count(value) {
  return isNumber(value) ? integers.format(value) : "unknown";
}

function decimal(value) {
  return value < 10 ? decimals.format(value) : integers.format(value);
}

function rate(value) {
  return isNumber(value) ? `${decimal(value)}/s` : "rate unknown";
}

function bytes(value) {
  let [size, unit] = [value, 0];
  for (; size >= 999.5 && unit < 5; unit += 1) size /= 1000;
  return `${unit === 0 ? integers.format(size) : decimal(size)} ${["B", "kB", "MB", "GB", "TB", "PB"][unit]}`;
}

function duration(seconds) {
  if (!isNumber(seconds)) return "unknown";
  if (seconds < 120) return `${seconds < 10 ? decimals.format(seconds) : integers.format(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// The time zone that is chosen in Airflow's UI, or else the browser's.
function chosenZone() {
  try {
    const kept = JSON.parse(localStorage.getItem("timezone")) ?? undefined;
    return new Intl.DateTimeFormat("en", { timeZone: kept }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

function clock(seconds, options = {}) {
  if (!isNumber(seconds)) return "unknown";
  return new Date(seconds * 1000).toLocaleTimeString("en-GB", { timeZone: chosenZone(), ...options });
}

function percent(stage) {
  if (!isNumber(stage.total) || !isNumber(stage.done) || stage.total <= 0) return "";
  // 99.9 % is not yet done.
  return ` (${Math.min(100, Math.floor((100 * stage.done) / stage.total))} %)`;
}

function counts(stage) {
  const total = isNumber(stage.total) ? `of ${count(stage.total)} done${percent(stage)}` : "done, total unknown";
  return `${count(stage.done)} ${total}`;
}

function facts(stage) {
  const found = [];
  const add = (value, word, kind = "") => {
    if (value !== 0) found.push([`${count(value)} ${word}`, kind]);
  };
  found.push([rate(stage.rate), ""]);
  if (stage.bytes !== 0) {
    const speed = isNumber(stage.bytes_rate) && stage.bytes_rate > 0 ? ` at ${bytes(stage.bytes_rate)}/s` : "";
    found.push([isNumber(stage.bytes) ? bytes(stage.bytes) + speed : "bytes unknown", ""]);
  }
  if (stage.active > 0) {
    found.push([isNumber(stage.seconds_left) ? `${duration(stage.seconds_left)} left` : "time left unknown", ""]);
  }
  found.push([stage.active > 0 ? `${duration(stage.elapsed)} so far` : `took ${duration(stage.elapsed)}`, ""]);
  add(stage.failed, "failed", "bad");
  add(stage.skipped, "skipped");
  add(stage.resumed, "done by an earlier try");
  add(stage.retries, "retried");
  if (isNumber(stage.lease_waits) && stage.lease_waits > 0) {
    found.push([`${count(stage.lease_waits)} waits for a lease, ${duration(stage.lease_wait_seconds)}`, ""]);
  }
  return found;
}

// --- the page --------------------------------------------------------------------------------------------------------

function make(name, className, content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
}

// What has not changed is left alone: it may be selected, or read aloud.
function setText(target, content) {
  if (target.textContent !== content) target.textContent = content;
}

function setSection(body, visible) {
  body.closest("section").hidden = !visible;
}

function draw(name, attributes) {
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) drawn.setAttribute(key, value);
  return drawn;
}

function drawChart(chart, history) {
  const rates = Array.isArray(history?.rates) ? history.rates.filter((value) => isNumber(value) && value >= 0) : [];
  chart.hidden = rates.length < 2;
  const key = JSON.stringify(rates);
  if (chart.hidden || chart.dataset.key === key) return;
  chart.dataset.key = key;
  const [width, height] = [176, 40];
  const top = Math.max(...rates, Number.MIN_VALUE);
  const at = (value, index) =>
    `${((index * width) / (rates.length - 1)).toFixed(1)},${(height - 1 - (value / top) * (height - 3)).toFixed(1)}`;
  const points = rates.map(at).join(" ");
  const span = isNumber(history.every) ? ` over ${duration(history.every * (rates.length - 1))}` : "";
  const name = `Rate${span}: now ${rate(rates.at(-1))}, at most ${rate(top)}`;
  const box = { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" };
  const svg = draw("svg", { ...box, role: "img", "aria-label": name });
  svg.append(
    draw("polygon", { class: "area", points: `0,${height} ${points} ${width},${height}` }),
    draw("polyline", { class: "curve", points, "vector-effect": "non-scaling-stroke" }),
    draw("line", { class: "axis", x1: 0, y1: height, x2: width, y2: height }),
  );
  const caption = make("span", "", `at most ${rate(top)}${span}`);
  caption.ariaHidden = "true";
  chart.replaceChildren(svg, caption);
}

function makeStage(number) {
  const row = make("li", "stage");
  const work = make("div");
  const head = make("div", "head");
  const label = make("span", "label");
  const counted = make("span", "counts");
  const bar = make("progress");
  label.id = `stage-${number}`;
  bar.setAttribute("aria-labelledby", label.id);
  head.append(label, counted);
  work.append(head, bar, make("div", "facts"));
  row.append(work, make("div", "chart"));
  return row;
}

function showStages(value) {
  const stages = list(value.stages);
  const rows = element("stages");
  while (rows.children.length > stages.length) rows.lastChild.remove();
  while (rows.children.length < stages.length) rows.append(makeStage(rows.children.length));
  stages.forEach((stage, number) => {
    const row = rows.children[number];
    const bar = row.querySelector("progress");
    const known = isNumber(stage.total) && isNumber(stage.done);
    row.style.setProperty("--depth", Math.min(Math.max(Number(stage.depth) || 0, 0), 6));
    setText(row.querySelector(".label"), text(stage.label));
    setText(row.querySelector(".counts"), counts(stage));
    // Without a total there is something to see only as long as something goes on.
    bar.hidden = !known && !(stage.active > 0);
    if (known) {
      bar.max = Math.max(stage.total, 1);
      bar.value = stage.total > 0 ? stage.done : 1;
    } else {
      bar.removeAttribute("value");
    }
    bar.setAttribute("aria-valuetext", counts(stage));
    row.classList.toggle("full", known && stage.done >= stage.total);
    const words = facts(stage).map(([content, kind]) => make("span", kind, content));
    const shown = row.querySelector(".facts");
    if (shown.textContent !== words.map((word) => word.textContent).join("")) shown.replaceChildren(...words);
    drawChart(row.querySelector(".chart"), stage.history);
  });
  setSection(rows, stages.length > 0);
}

function gauge(value, of, what, note = "") {
  const cell = make("td", "gauge", `${count(value)} of ${count(of)}${note}`);
  if (isNumber(value) && isNumber(of) && of > 0) {
    const meter = make("meter");
    [meter.max, meter.value] = [of, value];
    meter.ariaLabel = what;
    cell.append(meter);
  }
  return cell;
}

function heading(content) {
  const cell = make("th", "", content);
  cell.scope = "row";
  return cell;
}

function poolRow(pool) {
  const row = make("tr");
  const connects = make("td", "", count(pool.connects));
  if (pool.connect_errors > 0) connects.append(make("span", "bad", `, ${count(pool.connect_errors)} failed`));
  const seconds = pool.waits > 0 && isNumber(pool.wait_seconds) ? `, ${duration(pool.wait_seconds)} in all` : "";
  row.append(
    heading(text(pool.name)),
    gauge(pool.open, pool.size, "Connections open"),
    gauge(pool.leased, pool.limit, "Leases out", pool.auto === true ? " (auto)" : ""),
    make("td", "", count(pool.waiting)),
    make("td", "", count(pool.waits) + seconds),
    connects,
  );
  return row;
}

function failureRow(failure) {
  const row = make("tr");
  row.append(
    make("td", "", clock(failure.at)),
    make("td", "", text(failure.stage)),
    make("td", "item", text(failure.item)),
    make("td", "error", text(failure.error)),
  );
  return row;
}

function showRows(body, entries, makeRow) {
  const key = JSON.stringify(entries);
  if (body.dataset.key !== key) body.replaceChildren(...entries.map(makeRow));
  body.dataset.key = key;
  setSection(body, entries.length > 0);
}

let announced = { at: -Infinity, state: null };

// Not each number: whoever listens has other things to do.
function announce(value, state) {
  const now = performance.now();
  if (state === announced.state && now - announced.at < ANNOUNCE) return;
  announced = { at: now, state };
  const top = list(value.stages).filter((stage) => !(stage.depth > 0));
  const parts = top.map((stage) => `${text(stage.label)}: ${counts(stage)}, ${count(stage.failed)} failed.`);
  setText(element("announcement"), [`${state}.`, ...parts].join(" "));
}

let last = { updated: null, at: 0 };

function noticeFor(value, task) {
  const now = performance.now();
  if (value.updated !== last.updated) last = { updated: value.updated, at: now };
  if (isNumber(value.try) && value.try !== task.try_number) {
    return `These are the numbers of try ${value.try}; the task is at try ${task.try_number}.`;
  }
  if (value.state !== "running") return "";
  if (ENDED.has(task.state)) return "The task ended without a last report: these are the numbers of the one before.";
  if (now - last.at > SILENCE) return `The task has reported nothing for ${duration((now - last.at) / 1000)}.`;
  return "";
}

const STATES = { running: "Running", success: "Succeeded", failed: "Failed" };

function showValue(value, task) {
  const cut = ENDED.has(task.state) && value.state === "running";
  const state = STATES[cut ? task.state : value.state] ?? "State unknown";
  const words = [state, `try ${count(value.try)}`];
  if (isNumber(value.updated) && isNumber(value.started)) {
    words.push(`${value.state === "running" ? "for" : "after"} ${duration(value.updated - value.started)}`);
  }
  words.push(`as of ${clock(value.updated, { timeZoneName: "short" })}`);
  setText(element("summary"), words.join(" · "));
  showStages(value);
  showRows(element("pools"), list(value.pools), poolRow);
  showRows(element("failures"), list(value.failures), failureRow);
  announce(value, state);
}

// Shows either a report or a message; a notice may stand above the report.
function show({ message = "", notice = "", value = null, task = null }) {
  for (const [id, content] of [["message", message], ["notice", notice]]) {
    setText(element(id), content);
    element(id).hidden = content === "";
  }
  element("summary").hidden = value === null;
  if (value !== null) {
    showValue(value, task);
    return;
  }
  for (const id of ["stages", "pools", "failures"]) setSection(element(id), false);
  if (message !== announced.state) {
    announced = { at: performance.now(), state: message };
    setText(element("announcement"), message);
  }
}

// --- reading again and again -----------------------------------------------------------------------------------------

const NOTHING = "This task reports no progress. Tasks that run amap, or a pool's methods such as read_many, do.";
const NOT_YET = "No progress yet. It is shown here as soon as the task reports any.";
const SILENT = "This task has reported no progress.";

let failures = 0;

// Returns for how long to wait, or null when there will be nothing new.
async function turn() {
  const task = await read(ti.index < 0 ? apiPath() : apiPath(String(ti.index)));
  if (task === null) {
    show({ message: "There is no such task instance. Of a mapped task, open one of its instances." });
    return null;
  }
  const ended = ENDED.has(task.state);
  // What is read after the task has ended is its last report.
  const { never = false, found } = await readValue(task);
  if (never) {
    show({ message: NOTHING });
    return null;
  }
  if (found === undefined) {
    show({ message: ended ? SILENT : NOT_YET });
    return ended ? null : IDLE_POLL;
  }
  const [value, problem] = parse(found);
  show(value === null ? { message: problem } : { value, task, notice: noticeFor(value, task) });
  if (ended) return null;
  return task.state === "running" ? POLL : IDLE_POLL;
}

let timer = null;
let turning = false;

async function go() {
  clearTimeout(timer);
  if (turning) return;
  turning = true;
  let delay;
  try {
    delay = await turn();
    failures = 0;
  } catch (error) {
    failures += 1;
    delay = error instanceof Refused ? null : Math.min(POLL * 2 ** failures, MAX_POLL);
    const reason = error instanceof Refused ? error.message : "Airflow cannot be reached at the moment; trying again.";
    // Numbers that were true a moment ago are better than none, unless they may no longer be seen.
    if (error instanceof Refused || element("summary").hidden) show({ message: reason });
    else {
      setText(element("notice"), reason);
      element("notice").hidden = false;
    }
  } finally {
    turning = false;
  }
  document.documentElement.dataset.polling = delay === null ? "ended" : "on";
  if (delay !== null) timer = setTimeout(go, document.hidden ? Math.max(delay, HIDDEN_POLL) : delay);
}

// --- the frame around it ---------------------------------------------------------------------------------------------

function followTheme() {
  const own = document.documentElement;
  const outer = window.parent === window ? null : window.parent.document.documentElement;
  if (outer !== null) {
    const follow = () => {
      own.classList.toggle("dark", outer.classList.contains("dark"));
      // A frame is transparent only as long as its scheme is that of the page around it.
      own.style.colorScheme = getComputedStyle(outer).colorScheme;
    };
    new MutationObserver(follow).observe(outer, { attributeFilter: ["class", "style"] });
    follow();
    return;
  }
  // Alone in its window: what Airflow's UI has kept, or else what the system prefers.
  own.classList.add("alone");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => {
    const kept = localStorage.getItem("theme");
    own.classList.toggle("dark", kept === "dark" || (kept !== "light" && system.matches));
  };
  system.addEventListener("change", follow);
  window.addEventListener("storage", follow);
  follow();
}

function showHeader() {
  const index = ti.index < 0 ? "" : ` [${ti.index}]`;
  const mapped = ti.index < 0 ? [] : ["mapped", String(ti.index)];
  const path = ["dags", ti.dag, "runs", ti.run, "tasks", ti.task, ...mapped].map((part) => encodeURIComponent(part));
  element("task").textContent = `Progress of ${ti.dag}.${ti.task}${index}`;
  element("back").href = new URL(`../${path.join("/")}`, location.href).href;
  element("alone").hidden = false;
}

followTheme();
if (ti === null) {
  show({ message: "The address of this page names no task." });
} else {
  if (window.parent === window) showHeader();
  // Back in sight: at once, and again after the end, for the task may have been cleared.
  document.addEventListener("visibilitychange", () => document.hidden || go());
  go();
}
