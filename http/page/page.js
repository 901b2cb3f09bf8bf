"use strict";
/* The page at /: everything it shows comes from the API that other clients have too. */
const $ = id => document.getElementById(id);
const READABLE = ["image/jpeg", "image/png", "image/gif", "image/bmp", "image/webp"];
const TICK_MS = 1000, MODELS_MS = 5000, WINDOW_S = 5, KEPT_S = 60;
let picture = null; // {blob, name, type, url} of the latest picture
let shown = null;   // its explanation, or null
let calls = 0;      // to drop answers that a newer call has overtaken

/* ---- the call ---- */

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function target() {
  const [name, version] = JSON.parse($("model").value);
  return "/v1/models/" + encodeURIComponent(name) + (version ? "/versions/" + version : "");
}

function quoted(text) { return "'" + text.replaceAll("'", "'\\''") + "'"; }

function showCurl(path) {
  $("curl").textContent = "curl -H " + quoted("Content-Type: " + picture.type) + " --data-binary " + quoted("@" + picture.name) + " " + quoted(location.origin + path);
  $("copy").disabled = false;
}

async function post(path) {
  showCurl(path);
  const begin = performance.now();
  const answer = await fetch(path, {method: "POST", headers: {"Content-Type": picture.type}, body: picture.blob});
  const body = await answer.json();
  return {ok: answer.ok, body, error: body.error, total: performance.now() - begin, timing: answer.headers.get("server-timing") || ""};
}

/* Explains, and where the network cannot be explained, predicts. */
async function ask(classIndex) {
  if (!picture || $("model").disabled) return;
  const call = ++calls;
  $("answer").setAttribute("aria-busy", "true");
  let result;
  try {
    result = await post(target() + ":explain?topk=5" + (classIndex === undefined ? "" : "&class=" + classIndex));
    if (!result.ok && /cannot be explained/.test(result.error)) result = await post(target() + ":predict?topk=5");
  } catch (e) {
    result = {ok: false, error: "The server did not answer: " + e.message, timing: "", total: 0};
  }
  if (call !== calls) return;
  $("answer").setAttribute("aria-busy", "false");
  showResult(result);
}

/* ---- the answer ---- */

function showResult(result) {
  $("message").hidden = result.ok;
  if (!result.ok) {
    $("message").className = "error";
    $("message").textContent = result.error;
  }
  $("classes").replaceChildren();
  shown = result.ok && result.body.explanations ? result.body.explanations[0] : null;
  for (const c of result.ok ? result.body.predictions : []) $("classes").append(classRow(c));
  $("heat-on").disabled = !shown;
  showTiming(result);
  draw();
}

function classRow(c) {
  const value = c.probability ?? c.score, row = element("li"), button = element("button"), bar = element("i");
  button.type = "button";
  button.append(element("b", "", c.label ?? "class " + c.index), element("output", "", c.probability === undefined ? value.toFixed(3) : percent(value)), bar);
  if (c.probability !== undefined) bar.style.setProperty("--share", 100 * value + "%");
  button.setAttribute("aria-pressed", String(shown !== null && shown.class === c.index));
  button.disabled = shown === null;
  button.addEventListener("click", () => { $("heat-on").checked = true; ask(c.index); });
  row.append(button);
  return row;
}

function percent(share) { return (100 * share).toFixed(share > 0.0999 ? 1 : 2) + " %"; }
function duration(ms) { return ms >= 1000 ? (ms / 1000).toFixed(2) + " s" : ms.toFixed(ms < 10 ? 2 : ms < 100 ? 1 : 0) + " ms"; }

const STAGES = [["parse", "reading"], ["decode", "decoding"], ["queue", "waiting"], ["run", "computing"], ["write", "writing"], ["network", "network and browser"]];

function showTiming(result) {
  const found = {}, batch = /batch;desc="(\d+)"/.exec(result.timing);
  for (const [, name, ms] of result.timing.matchAll(/(\w+);dur=([\d.]+)/g)) found[name] = Number(ms);
  if (!Object.keys(found).length) return;
  found.network = Math.max(0, result.total - Object.values(found).reduce((a, b) => a + b, 0));
  const bars = [], legend = [];
  STAGES.forEach(([name, text], i) => {
    if (found[name] === undefined) return;
    const bar = element("span", "s" + (i + 1)), item = element("li");
    bar.style.setProperty("--part", found[name]);
    item.append(element("i", "s" + (i + 1)), text + " " + duration(found[name]));
    bars.push(bar);
    legend.push(item);
  });
  if (batch) legend.push(element("li", "", "in a batch of " + batch[1]));
  $("timing").replaceChildren(...bars);
  $("timing").setAttribute("aria-label", legend.map(item => item.textContent).join(", "));
  $("timing-legend").replaceChildren(...legend);
}

/* ---- the heat map ---- */

const STOPS = [[28, 16, 68], [114, 31, 129], [205, 64, 113], [250, 129, 76], [252, 225, 120]];

function colour(level) {
  const at = level * (STOPS.length - 1), i = Math.min(Math.floor(at), STOPS.length - 2);
  return STOPS[i].map((from, k) => from + (STOPS[i + 1][k] - from) * (at - i));
}

/* The position in a list of rising places; before the first and behind the last one it is theirs. */
function position(share, places) {
  if (places.length < 2) return 0;
  return Math.min(Math.max((share - places[0]) / (places[1] - places[0]), 0), places.length - 1);
}

function levelAt(e, y, x, least, span) {
  const v = position(y, e.rows), u = position(x, e.columns), top = Math.floor(v), left = Math.floor(u);
  const row = i => e.map[Math.min(i, e.map.length - 1)], at = (r, i) => (r[Math.min(i, r.length - 1)] - least) / span;
  const mixed = r => at(r, left) * (1 - u + left) + at(r, left + 1) * (u - left);
  return mixed(row(top)) * (1 - v + top) + mixed(row(top + 1)) * (v - top);
}

function draw() {
  const on = shown && $("heat-on").checked, canvas = $("heat"), img = $("picture");
  canvas.hidden = !on || !img.naturalWidth;
  if (canvas.hidden) return;
  const scale = 320 / Math.max(img.naturalWidth, img.naturalHeight);
  const w = canvas.width = Math.max(1, Math.round(img.naturalWidth * scale)), h = canvas.height = Math.max(1, Math.round(img.naturalHeight * scale));
  const side = shown.window.of === "shorter_side" ? [Math.min(w, h), Math.min(w, h)] : [h, w];
  const inside_h = shown.window.height * side[0], inside_w = shown.window.width * side[1], crop = [(h - inside_h) / 2, (w - inside_w) / 2, inside_h, inside_w];
  const values = shown.map.flat(), least = Math.min(...values), span = Math.max(...values) - least || 1;
  const context = canvas.getContext("2d"), pixels = context.createImageData(w, h);
  for (let y = 0, i = 0; y < h; y++) {
    for (let x = 0; x < w; x++, i += 4) {
      const v = (y + 0.5 - crop[0]) / crop[2], u = (x + 0.5 - crop[1]) / crop[3];
      const inside = v >= 0 && v <= 1 && u >= 0 && u <= 1, level = inside ? levelAt(shown, v, u, least, span) : 0;
      const [r, g, b] = inside ? colour(level) : [0, 0, 0];
      pixels.data[i] = r, pixels.data[i + 1] = g, pixels.data[i + 2] = b, pixels.data[i + 3] = 140;
    }
  }
  context.putImageData(pixels, 0, 0);
}

/* ---- pictures ---- */

/* What the server does not read goes to it as PNG. */
async function readable(blob) {
  if (READABLE.includes(blob.type)) return blob;
  const bitmap = await createImageBitmap(blob, {imageOrientation: "none"}), canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise(resolve => canvas.toBlob(resolve, "image/png"));
}

async function take(file) {
  if (!file) return;
  let blob;
  try {
    blob = await readable(file);
  } catch {
    showResult({ok: false, error: "This file is no picture that can be read.", timing: "", total: 0});
    return;
  }
  if (picture) URL.revokeObjectURL(picture.url);
  const name = blob === file && file.name ? file.name : "picture." + blob.type.slice(6);
  picture = {blob, name, type: blob.type, url: URL.createObjectURL(blob)};
  shown = null;
  const img = $("picture");
  img.onload = () => { $("figure").classList.toggle("small", img.naturalWidth < 128); draw(); };
  img.src = picture.url;
  img.alt = "Picture " + name;
  img.hidden = false;
  $("figure").classList.remove("empty");
  draw();
  await ask();
}

function first(list) { return [...(list || [])].find(file => file.type.startsWith("image/") || file.type === ""); }

addEventListener("dragover", e => { e.preventDefault(); $("figure").classList.add("over"); });
addEventListener("dragleave", e => { if (!e.relatedTarget) $("figure").classList.remove("over"); });
addEventListener("drop", e => { e.preventDefault(); $("figure").classList.remove("over"); take(first(e.dataTransfer.files)); });
addEventListener("paste", e => take(first(e.clipboardData.files)));
for (const id of ["file", "capture"]) $(id).addEventListener("change", e => { take(e.target.files[0]); e.target.value = ""; });
$("heat-on").addEventListener("change", draw);
$("model").addEventListener("change", () => ask());

/* ---- the camera ---- */

/* Browsers lend it to pages of https and of this machine only; elsewhere the phone's own camera is asked for, as a file. */
async function openBooth() {
  if (!navigator.mediaDevices?.getUserMedia) return $("capture").click();
  try {
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment"}});
    $("booth").showModal();
    await $("video").play();
  } catch {
    closeBooth();
    $("capture").click();
  }
}

function closeBooth() {
  $("video").srcObject?.getTracks().forEach(track => track.stop());
  $("video").srcObject = null;
  $("booth").close();
}

function shoot() {
  const canvas = document.createElement("canvas");
  canvas.width = $("video").videoWidth;
  canvas.height = $("video").videoHeight;
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  closeBooth();
  canvas.toBlob(take, "image/jpeg", 0.92);
}

$("camera").addEventListener("click", openBooth);
$("shoot").addEventListener("click", shoot);
$("leave").addEventListener("click", closeBooth);
$("booth").addEventListener("cancel", closeBooth);

/* ---- copying ---- */

$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText($("curl").textContent);
  } catch { // no secure context
    getSelection().selectAllChildren($("curl"));
    document.execCommand("copy");
  }
  $("copy").textContent = "Copied";
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
});

/* ---- live figures ---- */

/* [[name, {label: value}, number]] of a page in Prometheus's text format. */
function parseMetrics(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const m = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!m) continue;
    const labels = {};
    for (const [, key, value] of (m[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = value.replace(/\\(.)/g, (_, c) => c === "n" ? "\n" : c);
    found.push([m[1], labels, Number(m[3])]);
  }
  return found;
}

const INFERENCE = ["predict", "infer", "classify", "regress", "explain", "multi_infer"];

/* Sums over all models and protocols. */
function sample(metrics) {
  const s = {time: performance.now() / 1000, rows: 0, runs: 0, failed: 0, queue: 0, buckets: new Map()};
  for (const [name, labels, value] of metrics) {
    if (name === "resnetd_batch_rows_sum") s.rows += value;
    else if (name === "resnetd_batch_rows_count") s.runs += value;
    else if (name === "resnetd_queue_rows") s.queue += value;
    else if (!INFERENCE.includes(labels.method)) continue;
    else if (name === "resnetd_request_duration_seconds_bucket" && labels.outcome === "success") s.buckets.set(labels.le, (s.buckets.get(labels.le) || 0) + value);
    else if (name === "resnetd_request_duration_seconds_count" && labels.outcome !== "success") s.failed += value;
  }
  return s;
}

/* Milliseconds, from cumulative buckets of seconds; null without calls. */
function percentile(now, then, share) {
  const bounds = [...now.buckets.keys()].sort((a, b) => limit(a) - limit(b)), count = le => now.buckets.get(le) - (then.buckets.get(le) || 0);
  const all = bounds.length ? count(bounds.at(-1)) : 0;
  let below = 0, from = 0;
  if (!all) return null;
  for (const le of bounds) {
    const n = count(le), to = limit(le) === Infinity ? from : limit(le);
    if (n >= share * all) return 1000 * (from + (to - from) * (n === below ? 1 : (share * all - below) / (n - below)));
    below = n;
    from = to;
  }
  return 1000 * from;
}

function limit(le) { return le === "+Inf" ? Infinity : Number(le); }

const samples = [];

function showFigures() {
  const now = samples.at(-1), then = samples.find(s => s.time >= now.time - WINDOW_S - 0.5), seconds = now.time - then.time;
  if (seconds <= 0) return;
  const runs = now.runs - then.runs;
  const rates = samples.slice(1).map((s, i) => (s.rows - samples[i].rows) / (s.time - samples[i].time));
  $("rate").textContent = ((now.rows - then.rows) / seconds).toFixed(now.rows - then.rows < 10 * seconds ? 1 : 0);
  for (const [id, share] of [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]]) {
    const ms = percentile(now, then, share);
    $(id).textContent = ms === null ? "–" : duration(ms);
  }
  $("queue").textContent = now.queue;
  $("batch").textContent = runs ? ((now.rows - then.rows) / runs).toFixed(1) : "–";
  $("failed").textContent = now.failed - then.failed;
  drawSpark(rates);
}

function drawSpark(rates) {
  const most = Math.max(...rates, 1), x = i => (600 * (KEPT_S - rates.length + i + 1) / KEPT_S).toFixed(1), y = r => (68 - 64 * r / most).toFixed(1);
  const line = rates.map((r, i) => (i ? "L" : "M") + x(i) + " " + y(r)).join("");
  document.querySelector("#spark .line").setAttribute("d", line);
  document.querySelector("#spark .area").setAttribute("d", line && line + "L600 72L" + x(0) + " 72Z");
}

/* ---- models ---- */

function showHealth(ready, text) {
  $("health").textContent = text;
  $("health").className = "chip " + (ready ? "good" : "bad");
}

function showModels(index, info) {
  const rows = index.map(m => {
    const row = element("tr"), known = info.find(i => i.model === m.name && i.version === m.version), ready = m.state === "READY";
    const test = ready ? "passed" : m.reason ? m.reason : "not run";
    for (const [text, className] of [[m.name], [m.version || "–"], [m.state ? m.state.toLowerCase() : "not loaded"], [known ? known.device : "–"],
                                     [known ? known.precision : "–"], [test, ready ? "good" : m.reason && m.state !== "UNAVAILABLE" ? "bad" : ""]])
      row.append(element("td", className, text));
    return row;
  });
  $("models").replaceChildren(...rows);
  const options = [];
  for (const m of index.filter(m => m.state === "READY")) {
    if (!options.some(([name, version]) => name === m.name && !version)) options.push([m.name, ""]);
    options.push([m.name, m.version]);
  }
  const select = $("model"), chosen = select.disabled ? "" : select.value, values = options.map(o => JSON.stringify(o));
  if (values.join() === [...select.options].map(o => o.value).join()) return;
  select.replaceChildren(...options.map(([name, version], i) => new Option(version ? name + ", version " + version : name + ", newest version", values[i])));
  if (!options.length) select.append(new Option("none is served"));
  select.disabled = !options.length;
  if (values.includes(chosen)) select.value = chosen;
}

let infos = [];

async function lookAtModels() {
  const answer = await fetch("/v2/repository/index", {method: "POST", body: "{}"});
  if (answer.ok) showModels(await answer.json(), infos);
}

async function lookAtMetrics() {
  const metrics = parseMetrics(await (await fetch("/metrics")).text()), build = metrics.find(([name]) => name === "resnetd_build_info");
  infos = metrics.filter(([name]) => name === "resnetd_info").map(([, labels]) => labels);
  if (build) $("build").textContent = "resnetd " + build[1].version + " (" + build[1].commit + ")";
  samples.push(sample(metrics));
  if (samples.length > KEPT_S) samples.shift();
  showFigures();
  const device = [...new Set(infos.map(i => i.device + " " + i.precision))].join(", ");
  showHealth(infos.length > 0, infos.length ? "ready on " + device : "no model is ready");
}

async function tick(count) {
  if (!document.hidden) {
    try {
      await lookAtMetrics();
      if (count % (MODELS_MS / TICK_MS) === 0) await lookAtModels();
    } catch {
      showHealth(false, "server does not answer");
    }
  }
  setTimeout(tick, TICK_MS, count + 1);
}

tick(0);
