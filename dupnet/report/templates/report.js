"use strict";
// Shows, sorts and filters the table of pairs, and opens its rows; the rest of the page needs no script.

const PAGE_SIZE = 25;
const COLUMNS = ["image1", "image2", "verdict", "score", "share", "area", "y_offset", "x_offset", "n_decidable"];
const SVG = "http://www.w3.org/2000/svg";
const data = JSON.parse(document.getElementById("table-data").textContent);
const byId = (name) => document.getElementById(name);
const count = (n) => n.toLocaleString("en");
const rows = [...data.image1.keys()];

// What follows from the data is found once, not at every draw.
data.area = rows.map((row) => data.height[row] * data.width[row]);
data.share = rows.map((row) => {
  if (data.changed[row]) return data.changed[row].share;
  const areas = [data.image1[row], data.image2[row]].map((image) => data.sizes[image][0] * data.sizes[image][1]);
  return data.area[row] / Math.min(...areas);
});
// Names sort by their rank, so that a sort compares numbers.
const ranks = new Array(data.names.length);
[...data.names.keys()].sort((a, b) => (data.names[a] < data.names[b] ? -1 : data.names[a] > data.names[b] ? 1 : 0))
  .forEach((name, rank) => { ranks[name] = rank; });
const sortKeys = { image1: data.image1.map((name) => ranks[name]), image2: data.image2.map((name) => ranks[name]) };
const byVerdict = [...data.verdicts.keys()].sort((a, b) => (data.verdicts[a] < data.verdicts[b] ? -1 : 1));
sortKeys.verdict = data.verdict.map((verdict) => byVerdict.indexOf(verdict));

let order = [...rows];
let shown = order;
let page = 0;
let sorting = { column: null, ascending: true };

function name(image) {
  const copies = data.copies[image];
  return data.names[image] + (copies ? ` (+${count(copies)} ${copies === 1 ? "copy" : "copies"})` : "");
}

function text(column, row) {
  const value = data[column][row];
  if (column === "image1" || column === "image2") return name(value);
  if (column === "verdict") return data.verdicts[value];
  if (column === "score") return value === null ? "" : value.toFixed(4);
  if (column === "share") return `${(100 * value).toFixed(value < 0.1 ? 1 : 0)}%`;
  if (column === "area") return `${data.height[row]} x ${data.width[row]}`;
  if (column === "n_decidable") return `${value} of ${data.n_tiles[row]}`;
  return String(value);
}

function made(kind, properties = {}, ...children) {
  const element = Object.assign(document.createElement(kind), properties);
  element.append(...children);
  return element;
}

function rectangle(className, top, left, height, width) {
  const drawn = document.createElementNS(SVG, "rect");
  const attributes = { class: className, x: left, y: top, width, height };
  for (const [key, value] of Object.entries(attributes)) drawn.setAttribute(key, value);
  return drawn;
}

function polygon(corners) {
  const drawn = document.createElementNS(SVG, "polygon");
  drawn.setAttribute("points", corners.map((corner) => corner.join(",")).join(" "));
  return drawn;
}

function drawing(className, box, ...children) {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("class", className);
  drawn.setAttribute("viewBox", box.join(" "));
  drawn.setAttribute("aria-hidden", "true");
  drawn.append(...children);
  return drawn;
}

// Both images in their places and what they share, image 1 at the origin.
function key(row) {
  const [height1, width1] = data.sizes[data.image1[row]];
  const [height2, width2] = data.changed[row] ? data.changed[row].size : data.sizes[data.image2[row]];
  const y = data.y_offset[row], x = data.x_offset[row];
  const top = Math.min(0, y), left = Math.min(0, x);
  const height = Math.max(height1, y + height2) - top, width = Math.max(width1, x + width2) - left;
  const unit = Math.max(height, width) / 10;
  const scaled = (kind, ...box) => rectangle(kind, ...box.map((value) => value / unit));
  return drawing("key large", [left / unit - 0.5, top / unit - 0.5, width / unit + 1, height / unit + 1],
    scaled("shared", Math.max(0, y), Math.max(0, x), data.height[row], data.width[row]),
    scaled("one", 0, 0, height1, width1), scaled("two", y, x, height2, width2));
}

function address(image) {
  const base = data.bases[data.base[image]];
  return base ? `${base}/${data.names[image].split("/").map(encodeURIComponent).join("/")}` : null;
}

// One image with the common ground outlined.
function picture(row, end) {
  const image = data[`image${end}`][row];
  const [height, width] = data.sizes[image];
  const sign = end === 1 ? 1 : -1;
  const figure = made("figure");
  if (data.thumbnails[image]) {
    const box = [Math.max(0, sign * data.y_offset[row]), Math.max(0, sign * data.x_offset[row]), data.height[row], data.width[row]];
    figure.append(made("div", { className: "mosaic" },
      made("img", { src: data.thumbnails[image], alt: `Image ${end}, reduced` }),
      drawing("region", [0, 0, width, height], end === 2 && data.changed[row] ? polygon(data.changed[row].two) : rectangle("", ...box))));
  }
  const link = address(image);
  const caption = link ? made("a", { href: link, textContent: data.names[image] }) : data.names[image];
  figure.append(made("figcaption", {}, caption, ` ${height} x ${width} px`));
  return figure;
}

function meaning(row) {
  const verdict = data.verdicts[data.verdict[row]];
  const parts = `${data.n_decidable[row]} of ${data.n_tiles[row]} tiles show something to judge by`;
  const differ = data.n_differing[row];
  if (verdict === "undecidable") return `${parts}: the places of other images imply this overlap.`;
  if (verdict === "altered") return `${parts}; ${differ} of them ${differ === 1 ? "differs" : "differ"}, the others agree.`;
  return `${parts}; all of them agree, the least alike with a score of ${text("score", row)}.`;
}

function details(row) {
  const cell = made("td", { colSpan: COLUMNS.length + 1 });
  const y = data.y_offset[row], x = data.x_offset[row];
  const where = `Image 2 lies ${Math.abs(y)} px ${y < 0 ? "above" : "below"} and ${Math.abs(x)} px ${x < 0 ? "left" : "right"} of image 1. `;
  const how = data.changed[row] ? `It is ${data.changed[row].how} to lie there. ` : "";
  const told = !data.thumbnails[data.image1[row]] && !data.thumbnails[data.image2[row]]
    ? " The page has no pictures of these two; follow their links, or use dupnet review." : "";
  cell.append(made("div", { className: "opened" }, key(row), picture(row, 1), picture(row, 2),
    made("p", { textContent: where + how + meaning(row) + told })));
  return made("tr", { className: "details" }, cell);
}

function drawnRow(row) {
  const button = made("button", { type: "button", className: "open" });
  const label = `${text("image1", row)} and ${text("image2", row)}`;
  button.setAttribute("aria-label", `Open ${label}`);
  button.setAttribute("aria-expanded", "false");
  const drawn = made("tr", {}, made("td", {}, button));
  for (const column of COLUMNS) drawn.insertCell().textContent = text(column, row);
  let opened = null;
  const toggle = () => {
    if (opened) opened.remove();
    opened = opened ? null : details(row);
    if (opened) drawn.after(opened);
    button.setAttribute("aria-expanded", String(Boolean(opened)));
  };
  // Who marks text to copy it does not open the row.
  drawn.addEventListener("click", () => { if (!String(getSelection())) toggle(); });
  return drawn;
}

function draw() {
  const pages = Math.max(1, Math.ceil(shown.length / PAGE_SIZE));
  page = Math.min(Math.max(page, 0), pages - 1);
  const drawn = shown.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE).map(drawnRow);
  document.querySelector("#overlap-table tbody").replaceChildren(...drawn);
  byId("shown").textContent = `${count(shown.length)} of ${count(order.length)} overlaps, page ${page + 1} of ${count(pages)}. `
    + "A row opens with its arrow or a click; a heading sorts, a third time it puts back what to look at first.";
  byId("page").value = page + 1;
  byId("page").max = pages;
  byId("pages").textContent = count(pages);
  for (const name of ["first", "previous"]) byId(name).disabled = page === 0;
  for (const name of ["following", "last"]) byId(name).disabled = page === pages - 1;
  for (const header of document.querySelectorAll("th[data-column]")) {
    const chosen = header.dataset.column === sorting.column;
    header.setAttribute("aria-sort", chosen ? (sorting.ascending ? "ascending" : "descending") : "none");
  }
}

function filter() {
  const wanted = byId("filter-name").value.toLowerCase();
  const verdict = byId("filter-verdict").value;
  const named = data.names.map((one) => one.toLowerCase().includes(wanted));
  shown = order.filter((row) => (named[data.image1[row]] || named[data.image2[row]])
    && (!verdict || data.verdicts[data.verdict[row]] === verdict));
  page = 0;
  draw();
}

function sort(column) {
  const again = sorting.column === column;
  sorting = again && !sorting.ascending ? { column: null, ascending: true } : { column, ascending: !again };
  order = [...rows];
  if (sorting.column) {
    const keys = sortKeys[column] || data[column];
    const sign = sorting.ascending ? 1 : -1;
    order.sort((a, b) => {
      if (keys[a] === keys[b]) return a - b;
      if (keys[a] === null) return 1; // what has no score stays last
      if (keys[b] === null) return -1;
      return keys[a] < keys[b] ? -sign : sign;
    });
  }
  filter();
}

function turn(to) {
  page = to;
  draw();
}

for (const header of document.querySelectorAll("th[data-column]")) {
  header.querySelector("button").addEventListener("click", () => sort(header.dataset.column));
}
byId("filter-name").addEventListener("input", filter);
byId("filter-verdict").addEventListener("change", filter);
byId("first").addEventListener("click", () => turn(0));
byId("previous").addEventListener("click", () => turn(page - 1));
byId("following").addEventListener("click", () => turn(page + 1));
byId("last").addEventListener("click", () => turn(Infinity));
byId("page").addEventListener("change", () => turn((Math.round(Number(byId("page").value)) || 1) - 1));
draw();
