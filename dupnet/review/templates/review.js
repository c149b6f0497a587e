"use strict";
// The page holds no judgement of its own: the server writes each to disk and answers with what to show next.

const byId = (name) => document.getElementById(name);
const viewButtons = [...document.querySelectorAll("[data-view]")];
const verdictButtons = [...document.querySelectorAll("[data-verdict]")];
const VERDICT_KEYS = { d: "duplicate", n: "not_duplicate", u: "undecidable" };
const HINTS = {
  images: "The overlap is outlined in both images.",
  region: "The shared region as either image shows it.",
  absolute: "What differs between the two regions, eight times as strong: black is equal, white is 32 levels of 255 or more. An even veil is another brightness or colour; outlines all over are another sharpness; a bright spot or patch shows something that only one image has.",
  levels: "Left and middle: each region with the median of its channels taken out, so that a level above it is dark and a level below it bright. Right: what then differs, eight times as strong; black is equal, or clipped to white or black in both. Another brightness or colour is gone here; what stays bright differs.",
  flicker: "The two regions in turn. What jumps, differs.",
};
const FLICKER_MILLISECONDS = 500;

let state = null;
let view = "images";
let tile = null; // number of the shared tile that is shown alone; null: the whole overlap
let waiting = false;
let flicker = 0;
let tiles = []; // of the pair shown, with their scores, once they are known
const seen = []; // pairs shown before, for the way back
let places = null; // where the common region lies in either image, once it is known
const MOST_ZOOM = 16;
const ZOOM_STEP = 1.5;
let zoom = 1;
let shift = { x: 0, y: 0 }; // of all pictures, in pixels of the ground

// Keeps the token out of the address bar, the history and any screenshot.
history.replaceState(null, "", location.pathname);

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.json();
}

async function go(path, body, remember = true) {
  if (waiting) return;
  const before = state && state.pair ? state.pair.id : null;
  waiting = true;
  setButtons();
  try {
    state = await ask(path, body);
    byId("error").hidden = true;
    byId("told").textContent = state.told || "";
    byId("told").hidden = !state.told;
    if (remember && before !== null && !(state.pair && state.pair.id === before)) seen.push(before);
    tile = null;
    showState();
  } catch (problem) {
    byId("error").textContent = `Not confirmed: ${problem.message}. If the review was stopped, start it again; every confirmed judgement is kept.`;
    byId("error").hidden = false;
  } finally {
    waiting = false;
    setButtons();
  }
}

function setButtons() {
  const idle = !waiting && state !== null;
  for (const button of [...verdictButtons, byId("next")]) button.disabled = !(idle && state.pair);
  byId("undo").disabled = !(idle && state.can_undo);
  byId("accept").disabled = !(idle && state.pair && state.pair.open_in_group > 1);
  byId("back").disabled = !(idle && seen.length);
}

function showState() {
  const { pair, judged, implied, total, counts, contradictions, reviewer } = state;
  byId("progress").max = total;
  byId("progress").value = judged + implied;
  byId("progress-text").textContent = `${judged} of ${total} judged: ${counts.duplicate} duplicate, ${counts.not_duplicate} not, ${counts.undecidable} undecidable`;
  if (implied) byId("progress-text").textContent += `; ${implied} follow`;
  if (contradictions) byId("progress-text").textContent += `; ${contradictions} contradict others`;
  if (reviewer) byId("progress-text").textContent += `; judged by ${reviewer}`;
  byId("pair").hidden = !pair;
  byId("done").hidden = Boolean(pair);
  document.body.dataset.pair = pair ? pair.id : "done";
  if (!pair) {
    byId("announcement").textContent = "All pairs are judged.";
    return;
  }
  byId("facts").textContent = `The ${where(pair)}. ${said(pair)}`;
  byId("announcement").textContent = `${pair.image1} and ${pair.image2}. ${byId("facts").textContent}`;
  tiles = [];
  places = null;
  resetZoom();
  showTiles();
  showPictures();
  loadTiles(pair.id);
  loadPlaces(pair.id);
}

const words = (verdict) => verdict.replace("_", " ");
const where = (pair) => `overlap ${pair.overlap_tag ? `${pair.overlap_tag} ` : ""}at ${pair.y_offset}, ${pair.x_offset} px`;

// Of an altered overlap the score is the share of its ground that agrees, not that of a tile.
function said(pair) {
  const score = pair.score === null ? "no score" : pair.verdict === "altered" ? `${pair.score.toFixed(3)} of it agrees` : `score ${pair.score.toFixed(3)}`;
  const parts = [`${pair.verdict ? `DupNet: ${words(pair.verdict)}, ` : ""}${score}`];
  if (pair.judged) parts.push(`Judged: ${words(pair.judged)}${pair.by ? ` by ${pair.by}` : ""}`);
  if (pair.implied) parts.push(`Follows from other judgements: ${words(pair.implied)}`);
  return parts.join(". ");
}

function showTiles() {
  const choices = [null, ...tiles.keys()];
  byId("tiles").replaceChildren(...choices.map((choice) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.tile = choice === null ? "all" : choice;
    const part = tiles[choice];
    button.textContent = choice === null ? "All tiles" : `${part.name}: ${part.score === null ? "–" : part.score.toFixed(3)}`;
    if (choice !== null) button.title = `${part.height} x ${part.width} px from row ${part.top}, column ${part.left} of the overlap; its score`;
    button.setAttribute("aria-pressed", String(choice === tile));
    button.addEventListener("click", () => chooseTile(choice));
    return button;
  }));
}

async function loadTiles(id) {
  let found;
  try {
    found = await ask(`tiles/${id}`);
  } catch {
    return; // the pair can be judged without them
  }
  if (!state.pair || state.pair.id !== id) return;
  tiles = found;
  showTiles();
  const scores = tiles.map((part) => part.score).filter((score) => score !== null);
  const lowest = scores.length ? Math.min(...scores) : null;
  // A group's lattice may have begun elsewhere while it was searched: the same ground in other tiles.
  const isBeside = lowest !== null && state.pair.verdict === "duplicate" && state.pair.score !== null && lowest.toFixed(3) !== state.pair.score.toFixed(3);
  if (lowest !== null && state.pair.score === null) byId("facts").textContent += `, lowest tile ${lowest.toFixed(3)}`;
  if (isBeside) byId("facts").textContent += ` (of tiles cut as below, a few pixels aside, ${lowest.toFixed(3)})`;
}

function figure(name, caption) {
  const drawn = document.createElement("figure");
  const text = document.createElement("figcaption");
  const image = document.createElement("img");
  text.textContent = caption;
  image.alt = caption;
  image.src = `picture/${state.pair.id}/${name}${tile === null || name.startsWith("image") ? "" : `?tile=${tile}`}`;
  image.classList.toggle("enlarged", tile !== null);
  image.title = "Enlarge, or back; the wheel zooms all pictures";
  image.draggable = false;
  image.addEventListener("click", () => { if (!moved && zoom === 1) enlarge(drawn); });
  image.addEventListener("error", () => { text.textContent = `${caption}: cannot be read`; });
  image.addEventListener("load", applyZoom);
  const frame = document.createElement("div");
  frame.className = "frame";
  frame.append(image);
  drawn.append(text, frame);
  return drawn;
}

// One picture alone over the full width, which a phone needs to show anything; again: all of them.
function enlarge(chosen) {
  if (view === "flicker") return;
  const alone = byId("stage").classList.toggle("alone");
  for (const one of byId("stage").children) one.hidden = alone && one !== chosen;
  applyZoom();
}

async function loadPlaces(id) {
  let found;
  try {
    found = await ask(`places/${id}`);
  } catch {
    return; // then the middle of each picture stays in place
  }
  if (!state.pair || state.pair.id !== id) return;
  places = found;
  applyZoom();
}

// Pixels of the screen for one of the ground, and what is held: the centre of the common region, which moves to
// the centre of its frame by the time the pictures are twice as large.
function placed(image, index) {
  const place = view === "images" && places ? places[index] : { height: image.naturalHeight, width: image.naturalWidth };
  const scale = Math.min(image.clientWidth / place.width, image.clientHeight / place.height);
  const left = (image.clientWidth - place.width * scale) / 2;
  const x = left + (place.x ?? place.width / 2) * scale, y = (place.y ?? place.height / 2) * scale;
  return { scale, x, y, toX: image.clientWidth / 2 - x, toY: image.clientHeight / 2 - y };
}
const centred = (factor) => Math.min(1, factor - 1);

// The same ground stays at the same place in every picture, however large each is drawn.
function applyZoom() {
  byId("zoom").textContent = `${Number(zoom.toFixed(1))} x`;
  byId("stage").classList.toggle("zoomed", zoom > 1);
  [...byId("stage").querySelectorAll("img")].forEach((image, index) => {
    if (!image.naturalWidth || !image.clientWidth) return;
    const { scale, x, y, toX, toY } = placed(image, index);
    const right = shift.x * scale * zoom + toX * centred(zoom), down = shift.y * scale * zoom + toY * centred(zoom);
    image.style.transformOrigin = `${x}px ${y}px`;
    image.style.transform = zoom === 1 ? "" : `translate(${right}px, ${down}px) scale(${zoom})`;
  });
}

function resetZoom() {
  zoom = 1;
  shift = { x: 0, y: 0 };
  applyZoom();
}

// Zoom by a factor; with a place on the screen over a picture, the ground there stays there.
function zoomBy(factor, image, clientX, clientY) {
  const before = zoom;
  zoom = Math.min(MOST_ZOOM, Math.max(1, zoom * factor));
  if (zoom === 1) shift = { x: 0, y: 0 };
  else if (image) {
    const index = [...byId("stage").querySelectorAll("img")].indexOf(image);
    const frame = image.parentElement.getBoundingClientRect();
    const { scale, x, y, toX, toY } = placed(image, index);
    const from = (at, held, to, factor) => (at - held - to * centred(factor)) / factor / scale;
    shift.x += from(clientX - frame.left, x, toX, zoom) - from(clientX - frame.left, x, toX, before);
    shift.y += from(clientY - frame.top, y, toY, zoom) - from(clientY - frame.top, y, toY, before);
  }
  applyZoom();
}

function moveBy(image, right, down) {
  const { scale } = placed(image, [...byId("stage").querySelectorAll("img")].indexOf(image));
  shift.x += right / scale / zoom;
  shift.y += down / scale / zoom;
  applyZoom();
}

const pointers = new Map(); // those that are down on a picture
let moved = false; // whether the latest press moved the pictures: then it was no click
const gap = () => {
  const [one, two] = pointers.values();
  return Math.hypot(one.clientX - two.clientX, one.clientY - two.clientY);
};

byId("stage").addEventListener("wheel", (event) => {
  if (event.target.tagName !== "IMG") return;
  event.preventDefault();
  zoomBy(ZOOM_STEP ** (-Math.sign(event.deltaY)), event.target, event.clientX, event.clientY);
}, { passive: false });
byId("stage").addEventListener("pointerdown", (event) => {
  if (event.target.tagName !== "IMG") return;
  if (!pointers.size) moved = false;
  pointers.set(event.pointerId, event);
});
addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  if (pointers.size === 2) {
    const apart = gap();
    pointers.set(event.pointerId, event);
    zoomBy(gap() / Math.max(apart, 1), before.target, event.clientX, event.clientY);
    moved = true;
  } else if (zoom > 1) {
    moveBy(before.target, event.clientX - before.clientX, event.clientY - before.clientY);
    pointers.set(event.pointerId, event);
    moved = true;
  }
  Object.defineProperty(pointers.get(event.pointerId), "target", { value: before.target });
});
for (const name of ["pointerup", "pointercancel"]) addEventListener(name, (event) => pointers.delete(event.pointerId));
addEventListener("resize", applyZoom);

function showPictures() {
  clearInterval(flicker);
  byId("stage").onclick = null;
  const { image1, image2 } = state.pair;
  const stage = byId("stage");
  for (const button of viewButtons) button.setAttribute("aria-pressed", String(button.dataset.view === view));
  byId("hint").textContent = HINTS[view];
  stage.className = { absolute: "single", flicker: "single", levels: "triple" }[view] || "";
  const drawn = {
    images: () => [figure("image1", image1), figure("image2", image2)],
    region: () => [figure("region1", image1), figure("region2", image2)],
    absolute: () => [figure("absolute", "Absolute difference")],
    levels: () => [figure("levels1", image1), figure("levels2", image2), figure("medians", "Difference")],
    flicker: () => [figure("region1", image1), figure("region2", image2)],
  }[view]();
  stage.replaceChildren(...drawn);
  if (view === "flicker") startFlicker(drawn);
}

function startFlicker(drawn) {
  let shown = 0;
  const turn = () => {
    drawn.forEach((one, index) => { one.hidden = index !== shown; });
    shown = 1 - shown;
    applyZoom();
  };
  turn();
  // Who asked the system for less motion turns the pictures by hand.
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    byId("hint").textContent = "Select the picture to turn to the other one.";
    byId("stage").onclick = turn;
  } else {
    flicker = setInterval(turn, FLICKER_MILLISECONDS);
  }
}

function chooseView(name) {
  view = name;
  if (state && state.pair) showPictures();
}

function chooseTile(choice) {
  tile = choice;
  resetZoom();
  if (view === "images" && choice !== null) view = "region";
  for (const button of byId("tiles").children) button.setAttribute("aria-pressed", String(button.dataset.tile === String(choice ?? "all")));
  showPictures();
}

function stepTile(step) {
  const n = tiles.length;
  const place = ((tile === null ? -1 : tile) + 1 + step + n + 1) % (n + 1) - 1;
  chooseTile(place < 0 ? null : place);
}

// The list asks the server anew whenever the filter changes; an answer that was overtaken is dropped.
let asked = 0;
async function showList() {
  const number = ++asked;
  const query = new URLSearchParams({ text: byId("filter").value, kind: byId("kind").value });
  let found;
  try {
    found = await ask(`pairs?${query}`);
  } catch (problem) {
    byId("listed").textContent = problem.message;
    return;
  }
  if (number !== asked) return;
  const more = found.total - found.pairs.length;
  byId("listed").textContent = `${found.total} pairs${more ? `, the first ${found.pairs.length} shown` : ""}, least certain first`;
  byId("rows").replaceChildren(...found.pairs.map((pair) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${pair.image1} and ${pair.image2}, ${where(pair)}. ${said(pair)}`;
    button.addEventListener("click", () => {
      byId("pairs").close();
      go(`state?pair=${pair.id}`);
    });
    return button;
  }));
}

function openList() {
  byId("pairs").showModal();
  showList();
}

const judge = (verdict) => { if (state && state.pair) go("judge", { pair: state.pair.id, verdict }); };
const undo = () => { if (state && state.can_undo) go("undo", state.pair && state.pair.judged ? { pair: state.pair.id } : {}); };
const next = () => { if (state && state.pair) go(`state?after=${state.pair.id}`); };
const back = () => { if (!waiting && seen.length) go(`state?pair=${seen.pop()}`, undefined, false); };
const accept = () => {
  if (byId("accept").disabled) return;
  byId("accept-text").textContent = `${state.pair.open_in_group} open pairs of this group are duplicates by DupNet. Accepting judges all of them duplicate; Undo takes them back together while this review runs. Look at a few first, the least certain come first.`;
  byId("accepting").returnValue = "";
  byId("accepting").showModal();
};
const help = () => byId("keys").showModal();

for (const button of viewButtons) button.addEventListener("click", () => chooseView(button.dataset.view));
for (const button of verdictButtons) button.addEventListener("click", () => judge(button.dataset.verdict));
byId("undo").addEventListener("click", undo);
byId("next").addEventListener("click", next);
byId("back").addEventListener("click", back);
byId("accept").addEventListener("click", accept);
byId("accepting").addEventListener("close", () => { if (byId("accepting").returnValue === "yes") go("accept", { pair: state.pair.id }); });
byId("zoom-in").addEventListener("click", () => zoomBy(ZOOM_STEP));
byId("zoom-out").addEventListener("click", () => zoomBy(1 / ZOOM_STEP));
byId("zoom-reset").addEventListener("click", resetZoom);
byId("list").addEventListener("click", openList);
byId("help").addEventListener("click", help);
byId("filter").addEventListener("input", showList);
byId("kind").addEventListener("change", showList);

document.addEventListener("keydown", (event) => {
  // A key held down must not judge a second pair.
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  if (key in VERDICT_KEYS) judge(VERDICT_KEYS[key]);
  else if (key === "z") undo();
  else if (key === "s") next();
  else if (key === "b") back();
  else if (key === "l") openList();
  else if (key === "?") help();
  else if (key === "g") accept();
  else if (key === "+" || key === "=") zoomBy(ZOOM_STEP);
  else if (key === "-") zoomBy(1 / ZOOM_STEP);
  else if (key === "0") resetZoom();
  else if (key >= "1" && key <= String(viewButtons.length)) chooseView(viewButtons[Number(key) - 1].dataset.view);
  else if (state && state.pair && (key === "arrowleft" || key === "arrowright")) stepTile(key === "arrowleft" ? -1 : 1);
  else return;
  event.preventDefault();
});

setButtons();
go("state");
