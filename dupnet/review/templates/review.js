"use strict";
// The page holds no judgement of its own: the server writes each to disk and answers with what to show next.

const byId = (name) => document.getElementById(name);
const viewButtons = [...document.querySelectorAll("[data-view]")];
const verdictButtons = [...document.querySelectorAll("[data-verdict]")];
const VERDICT_KEYS = { d: "duplicate", n: "not_duplicate", u: "undecidable" };
const HINTS = {
  images: "The overlap is outlined in both images.",
  region: "The shared region as either image shows it.",
  absolute: "Absolute difference of the two regions, amplified eight times: black where they are equal.",
  levels: "Each region less the median of its channels, with wrap-around; then the difference of the two, amplified eight times.",
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
  showTiles();
  showPictures();
  loadTiles(pair.id);
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
  image.title = "Enlarge, or back";
  image.addEventListener("click", () => enlarge(drawn));
  image.addEventListener("error", () => { text.textContent = `${caption}: cannot be read`; });
  drawn.append(text, image);
  return drawn;
}

// One picture alone over the full width, which a phone needs to show anything; again: all of them.
function enlarge(chosen) {
  if (view === "flicker") return;
  const alone = byId("stage").classList.toggle("alone");
  for (const one of byId("stage").children) one.hidden = alone && one !== chosen;
}

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
const help = () => byId("keys").showModal();

for (const button of viewButtons) button.addEventListener("click", () => chooseView(button.dataset.view));
for (const button of verdictButtons) button.addEventListener("click", () => judge(button.dataset.verdict));
byId("undo").addEventListener("click", undo);
byId("next").addEventListener("click", next);
byId("back").addEventListener("click", back);
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
  else if (key >= "1" && key <= String(viewButtons.length)) chooseView(viewButtons[Number(key) - 1].dataset.view);
  else if (state && state.pair && (key === "arrowleft" || key === "arrowright")) stepTile(key === "arrowleft" ? -1 : 1);
  else return;
  event.preventDefault();
});

setButtons();
go("state");
