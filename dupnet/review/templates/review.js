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

// Keeps the token out of the address bar, the history and any screenshot.
history.replaceState(null, "", location.pathname);

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.json();
}

async function go(path, body) {
  if (waiting) return;
  waiting = true;
  setButtons();
  try {
    state = await ask(path, body);
    byId("error").hidden = true;
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
}

function showState() {
  const { pair, judged, total, counts } = state;
  byId("progress").max = total;
  byId("progress").value = judged;
  byId("progress-text").textContent = `${judged} of ${total} judged: ${counts.duplicate} duplicate, ${counts.not_duplicate} not, ${counts.undecidable} undecidable`;
  byId("pair").hidden = !pair;
  byId("done").hidden = Boolean(pair);
  document.body.dataset.pair = pair ? pair.id : "done";
  if (!pair) {
    byId("announcement").textContent = "All pairs are judged.";
    return;
  }
  const score = pair.score === null ? "no score" : `score ${pair.score.toFixed(3)}`;
  const verdict = pair.verdict ? `DupNet: ${pair.verdict.replace("_", " ")}, ` : "";
  byId("facts").textContent = `Overlap ${pair.overlap_tag}: ${pair.tiles1.length} shared tile${pair.tiles1.length > 1 ? "s" : ""}. ${verdict}${score}`;
  byId("announcement").textContent = `${pair.image1} and ${pair.image2}. ${byId("facts").textContent}`;
  showTiles();
  showPictures();
  showScores(pair.id);
}

function showTiles() {
  const choices = [null, ...state.pair.tiles1.keys()];
  byId("tiles").replaceChildren(...choices.map((choice) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.tile = choice === null ? "all" : choice;
    button.textContent = choice === null ? "All tiles" : `${state.pair.tiles1[choice]} ↔ ${state.pair.tiles2[choice]}`;
    if (choice !== null) button.title = `Tile ${state.pair.tiles1[choice]} of the first image is tile ${state.pair.tiles2[choice]} of the second; its score`;
    button.setAttribute("aria-pressed", String(choice === tile));
    button.addEventListener("click", () => chooseTile(choice));
    return button;
  }));
}

async function showScores(id) {
  let scores;
  try {
    scores = await ask(`scores/${id}`);
  } catch {
    return; // the pair can be judged without them
  }
  if (!state.pair || state.pair.id !== id) return;
  for (const button of byId("tiles").children) {
    const score = scores[button.dataset.tile];
    if (score) button.textContent += score.verdict === "undecidable" ? ": –" : `: ${score.score.toFixed(3)}`;
  }
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
  const n = state.pair.tiles1.length;
  const place = ((tile === null ? -1 : tile) + 1 + step + n + 1) % (n + 1) - 1;
  chooseTile(place < 0 ? null : place);
}

const judge = (verdict) => { if (state && state.pair) go("judge", { pair: state.pair.id, verdict }); };
const undo = () => { if (state && state.can_undo) go("undo", {}); };
const next = () => { if (state && state.pair) go(`state?after=${state.pair.id}`); };

for (const button of viewButtons) button.addEventListener("click", () => chooseView(button.dataset.view));
for (const button of verdictButtons) button.addEventListener("click", () => judge(button.dataset.verdict));
byId("undo").addEventListener("click", undo);
byId("next").addEventListener("click", next);

document.addEventListener("keydown", (event) => {
  // A key held down must not judge a second pair.
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.toLowerCase();
  if (key in VERDICT_KEYS) judge(VERDICT_KEYS[key]);
  else if (key === "z") undo();
  else if (key === "s") next();
  else if (key >= "1" && key <= String(viewButtons.length)) chooseView(viewButtons[Number(key) - 1].dataset.view);
  else if (state && state.pair && (key === "arrowleft" || key === "arrowright")) stepTile(key === "arrowleft" ? -1 : 1);
  else return;
  event.preventDefault();
});

setButtons();
go("state");
