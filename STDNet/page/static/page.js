// What the page does: a session, an upload, a run with progress, and the views of its result.
import { Cloud } from "/static/cloud.js";

const POLL_MS = 400, ALIVE_MS = 60000, PLAY_MS = 120, AHEAD = 32;
const NAMES = {
  rgb: "RGB", lr: "LR depth", bilinear: "Bilinear", stdnet: "STDNet", truth: "Ground truth",
  error_bilinear: "Error of bilinear", error_stdnet: "Error of STDNet",
};
const $ = id => document.getElementById(id);
const state = { t: 0, row: 0, playing: 0, kept: new Map() };
let facts, base, cloud;

// ---- talking to the server ----------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  let answer;
  try { answer = await fetch(path, options); }
  catch { throw new Error("The program does not answer; is it still running?"); }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `The program answered with an error (${answer.status}).`);
}
const get = path => ask(path).then(answer => answer.json());
const post = (path, content) => ask(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
}).then(answer => answer.json());

function complain(error) {
  $("error").hidden = !error;
  if (error) {
    const text = String(error.message || error);
    $("error").textContent = text[0].toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? "" : ".");
  }
}
const guarded = work => async event => { try { complain(null); await work(event); } catch (error) { complain(error); } };

// ---- setting up ---------------------------------------------------------------------------------------------------

function options(select, pairs, chosen) {
  select.replaceChildren(...pairs.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

function offerWeights() {
  const scale = Number(new FormData($("setup")).get("scale"));
  const fitting = facts.weights.filter(one => one.scale === scale);
  options($("weights"), fitting.map(one => [one.name, one.name]));
  $("start").disabled = !fitting.length;
}

function chooseScale(scale) {
  const input = document.querySelector(`input[name=scale][value="${scale}"]`);
  if (input) { input.checked = true; offerWeights(); }
}

function sourceChanged() {
  const capture = source() === "capture";
  $("upload").hidden = !capture;
  const known = capture ? state.capture?.frames : 16;
  $("frames").value = Math.min(known || 30, facts.max_frames);
  $("frames-hint").textContent = known
    ? `the first ones of ${known}; about a second each at 640 x 480 on two CPU cores`
    : `the first ones, at most ${facts.max_frames}`;
}
const source = () => new FormData($("setup")).get("source");

async function upload() {
  const file = $("file").files[0];
  if (!file) return;
  state.capture = null;
  if (file.size > facts.max_upload_mb * 1e6)
    throw new Error(`${file.name} has ${Math.ceil(file.size / 1e6)} MB, at most ${facts.max_upload_mb} MB are taken; use fewer frames`);
  $("capture-facts").textContent = `reading ${file.name} ...`;
  busy(true);
  try {
    state.capture = await ask(`${base}/capture`, { method: "POST", body: file }).then(answer => answer.json());
  } catch (error) {
    $("capture-facts").textContent = "";
    $("file").value = "";
    throw error;
  } finally { busy(false); }
  const { format, frames, rgb, depth, scale } = state.capture;
  $("capture-facts").textContent =
    `${format}: ${frames} frames, RGB ${rgb[1]} x ${rgb[0]}, depth ${depth[1]} x ${depth[0]}; x${scale} fits best`;
  chooseScale(scale);
  sourceChanged();
}

// ---- a run --------------------------------------------------------------------------------------------------------

function busy(on) {
  for (const set of document.querySelectorAll("fieldset")) set.disabled = on;
  $("start").disabled = on;
}

async function start() {
  if (source() === "capture" && !state.capture) throw new Error("Choose the zip archive of a capture first");
  const asked = { source: source(), weights: $("weights").value, frames: Number($("frames").value) };
  stopPlaying();
  busy(true);
  try {
    let { run } = await post(`${base}/run`, asked);
    $("result").hidden = true;
    $("cancel").hidden = $("progress").hidden = false;
    while (["waiting", "running"].includes(run.state)) {
      tell(run);
      await new Promise(done => setTimeout(done, POLL_MS));
      run = (await get(base)).run;
    }
    $("empty").hidden = run.state === "done";
    if (run.state === "failed") throw new Error(run.error);
    if (run.state === "done") show(run);
  } finally {
    busy(false);
    offerWeights();
    $("cancel").hidden = $("progress").hidden = true;
  }
}

function tell(run) {
  $("bar").value = run.share;
  const left = run.share > 0.25 ? run.seconds * (1 / run.share - 1) : 0;
  $("stage").textContent = run.state === "waiting"
    ? `waiting for ${run.ahead} other run${run.ahead === 1 ? "" : "s"}`
    : `${run.stage}: ${Math.round(100 * run.share)} %, ${Math.round(run.seconds)} s${left > 1 ? `, about ${Math.ceil(left)} s to go` : ""}`;
}

// ---- the result ---------------------------------------------------------------------------------------------------

function show(run) {
  const result = state.result = run.result;
  state.run = `${base}/runs/${run.key}`;
  state.kept.clear();
  $("result").hidden = false;
  document.documentElement.style.setProperty("--shape", `${result.size[1]} / ${result.size[0]}`);
  const pairs = result.kinds.map(kind => [kind, NAMES[kind]]);
  options($("left"), pairs, "bilinear");
  options($("right"), pairs, "stdnet");
  options($("cloud-kind"), pairs.filter(([kind]) => kind !== "rgb" && !kind.startsWith("error")), "stdnet");
  $("time").max = result.frames - 1;
  $("row").max = result.size[0] - 1;
  $("row").value = Math.round(result.size[0] / 2);
  state.t = Number($("time").value = result.frames >> 1);
  legend("depth-legend", facts.colours.depth, result.span_m[0], result.span_m[1]);
  legend("error-legend", facts.colours.error, 0, facts.colours.error_m);
  slices();
  numbers(run);
  cloud?.forget();
  frameChanged();
  rowChanged();
  if (matchMedia("(max-width: 680px)").matches) $("result").scrollIntoView();
}

function legend(id, colours, low, high) {
  const box = $(id);
  box.querySelector("i").style.background = `linear-gradient(to right, ${colours.map(c => `#${c}`).join(", ")})`;
  // What lies beyond an end has its colour.
  box.querySelector(".low").textContent = `${low ? "\u2264 " : ""}${low.toFixed(2)} m`;
  box.querySelector(".high").textContent = `\u2265 ${high.toFixed(2)} m`;
}

function picture(kind, t) {
  const url = `${state.run}/frames/${kind}/${t}`;
  if (!state.kept.has(url)) {
    const image = new Image();
    image.src = url;
    state.kept.set(url, image);
    if (state.kept.size > 4 * AHEAD) state.kept.delete(state.kept.keys().next().value);
  }
  return state.kept.get(url);
}

async function put(id, kind) {
  const wanted = picture(kind, state.t), element = $(id);
  element.dataset.wanted = wanted.src;
  await wanted.decode().catch(() => {});
  if (element.dataset.wanted !== wanted.src) return;  // scrubbed on meanwhile
  element.src = wanted.src;
  element.alt = `${NAMES[kind]}, frame ${state.t + 1}`;
  element.classList.toggle("pixels", kind === "lr");
}

function frameChanged() {
  const { frames, names } = state.result, left = $("left").value, right = $("right").value;
  $("time").value = state.t;
  $("time-text").textContent = `frame ${state.t + 1} of ${frames}`;
  $("time-text").title = names[state.t];
  put("over", left);
  put("under", right);
  $("error-legend").hidden = ![left, right].some(kind => kind.startsWith("error"));
  $("depth-legend").hidden = [left, right].every(kind => kind.startsWith("error") || kind === "rgb");
  for (let ahead = 1; ahead < Math.min(AHEAD, frames); ahead++)
    for (const kind of [left, right]) picture(kind, (state.t + ahead) % frames);
  for (const line of document.querySelectorAll("#slices i")) line.style.top = `${100 * (state.t + 0.5) / frames}%`;
  clearTimeout(state.later);
  state.later = setTimeout(pointsChanged, state.playing ? 0 : 60);
}

function split(share) {
  state.at = Math.max(0, Math.min(1, share));
  $("stack").style.setProperty("--at", `${100 * state.at}%`);
  $("handle").setAttribute("aria-valuenow", Math.round(100 * state.at));
}

function slices() {
  const kinds = state.result.kinds.filter(kind => kind !== "rgb");
  $("slices").replaceChildren(...kinds.map(kind => {
    const figure = document.createElement("figure"), box = document.createElement("div");
    const caption = document.createElement("figcaption"), image = new Image();
    caption.textContent = NAMES[kind] + (kind.startsWith("error") ? `, 0 to ${facts.colours.error_m} m` : "");
    image.alt = `${NAMES[kind]}: one row over time`;
    image.dataset.kind = kind;
    box.append(image, document.createElement("i"));
    figure.append(caption, box);
    return figure;
  }));
}

function rowChanged() {
  const row = Number($("row").value);
  $("row-text").textContent = `${row} of ${state.result.size[0]}`;
  $("row-line").style.top = `${100 * (row + 0.5) / state.result.size[0]}%`;
  clearTimeout(state.rowLater);
  state.rowLater = setTimeout(() => {
    for (const image of document.querySelectorAll("#slices img")) image.src = `${state.run}/slices/${image.dataset.kind}/${row}`;
  }, 50);
}

async function pointsChanged() {
  if (!cloud) return;
  const url = `${state.run}/points/${$("cloud-kind").value}/${state.t}`;
  if (state.loading) { state.again = true; return; }
  state.loading = true;
  try {
    const buffer = await ask(url).then(answer => answer.arrayBuffer());
    const { size, lr_size, focal, camera_known } = state.result, count = buffer.byteLength / 16;
    const step = Math.sqrt(($("cloud-kind").value === "lr" ? lr_size[0] * lr_size[1] : size[0] * size[1]) / Math.max(1, count));
    const spacing = ($("cloud-kind").value === "lr" ? 1 / lr_size[0] : Math.max(1, step) / size[0]);
    cloud.show(buffer, 2 * focal / size[0], spacing);
    $("cloud-text").textContent = `${count.toLocaleString("en")} points`
      + (camera_known ? "" : `; field of view of ${facts.assumed_view_deg} degrees assumed`);
  } catch (error) { complain(error); }
  state.loading = false;
  if (state.again) { state.again = false; pointsChanged(); }
}

function numbers(run) {
  const { frames, size, lr_size, weights, scale, block, scores, frames_per_s, invalid_share, beyond_max_depth, max_depth_m } = run.result;
  const notes = [
    `${frames} frames, ${lr_size[1]} x ${lr_size[0]} to ${size[1]} x ${size[0]} (x${scale}), ${weights}`,
    `${run.seconds.toFixed(0)} s in all, network ${frames_per_s.toFixed(2)} frames/s on ${facts.device}`,
  ];
  if (block > 1) notes.push(`${block} x ${block} depth pixels taken as one`);
  if (invalid_share > 0.0005) notes.push(`${(100 * invalid_share).toFixed(1)} % of the depth was missing (grey) and filled`);
  if (beyond_max_depth > 0.01) notes.push(`${(100 * beyond_max_depth).toFixed(0)} % of the depth is beyond the ${max_depth_m} m that the weights know`);
  $("facts").textContent = `${notes.join("; ")}.`;
  const rows = Object.entries(scores), columns = rows.length ? Object.keys(rows[0][1]) : [];
  $("scores").hidden = !rows.length;
  $("no-truth").hidden = rows.length > 0;
  $("scores").tBodies[0].replaceChildren(...rows.map(([method, values]) => {
    const line = document.createElement("tr"), head = document.createElement("th");
    head.textContent = NAMES[method];
    line.append(head, ...columns.map(column => {
      const cell = document.createElement("td"), value = values[column];
      cell.textContent = value === null ? "\u2013" : value.toFixed(2);
      cell.classList.toggle("best", value !== null && rows.every(([, other]) => value <= other[column]));
      if (value === null) cell.title = "needs optical flow, which this capture does not have";
      return cell;
    }));
    return line;
  }));
  $("download").href = `${state.run}/download`;
}

// ---- hands on -----------------------------------------------------------------------------------------------------

function stopPlaying() {
  clearInterval(state.playing);
  state.playing = 0;
  $("play").textContent = "\u25b6";
  $("play").setAttribute("aria-label", "play");
}

function play() {
  if (state.playing) return stopPlaying();
  $("play").textContent = "\u23f8";
  $("play").setAttribute("aria-label", "pause");
  state.playing = setInterval(() => { state.t = (state.t + 1) % state.result.frames; frameChanged(); }, PLAY_MS);
}

function wire() {
  const stack = $("stack"), drag = event => {
    const box = stack.getBoundingClientRect();
    split((event.clientX - box.left) / box.width);
  };
  stack.addEventListener("pointerdown", event => { stack.setPointerCapture(event.pointerId); drag(event); });
  stack.addEventListener("pointermove", event => { if (stack.hasPointerCapture(event.pointerId)) drag(event); });
  $("handle").addEventListener("keydown", event => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (step) { split(state.at + step); event.preventDefault(); }
  });
  $("time").addEventListener("input", () => { stopPlaying(); state.t = Number($("time").value); frameChanged(); });
  $("play").addEventListener("click", play);
  $("row").addEventListener("input", rowChanged);
  for (const id of ["left", "right"]) $(id).addEventListener("change", frameChanged);
  $("cloud-kind").addEventListener("change", pointsChanged);
  $("cloud-reset").addEventListener("click", () => cloud?.reset());
  $("setup").addEventListener("submit", event => { event.preventDefault(); guarded(start)(event); });
  $("cancel").addEventListener("click", guarded(() => post(`${base}/cancel`, {})));
  $("file").addEventListener("change", guarded(upload));
  for (const input of document.querySelectorAll("input[name=source]")) input.addEventListener("change", sourceChanged);
  addEventListener("pagehide", event => { if (!event.persisted) navigator.sendBeacon(`${base}/end`); });
  setInterval(() => get(base).catch(() => {}), ALIVE_MS);
}

async function main() {
  facts = await get("/api/facts");
  base = `/api/sessions/${(await post("/api/sessions", {})).session}`;
  $("scales").replaceChildren(...facts.scales.map(scale => {
    const label = document.createElement("label"), input = document.createElement("input"), text = document.createElement("span");
    Object.assign(input, { type: "radio", name: "scale", value: scale, checked: scale === facts.scales[0] });
    input.addEventListener("change", offerWeights);
    text.textContent = `x${scale}`;
    label.append(input, text);
    return label;
  }));
  $("frames").max = facts.max_frames;
  if (!facts.sample) {
    document.querySelector("input[value=sample]").disabled = true;
    document.querySelector("input[value=capture]").checked = true;
  }
  offerWeights();
  sourceChanged();
  split(0.5);
  try { cloud = new Cloud($("cloud")); }
  catch (error) { $("cloud-text").textContent = error.message; }
  wire();
  document.body.dataset.ready = "yes";
}

guarded(main)();
