"use strict";
// Shows, sorts and filters the table of overlaps; the rest of the page needs no script.

const PAGE_SIZE = 50;
const COLUMNS = ["image1", "image2", "y_offset", "x_offset", "height", "width", "n_tiles", "n_decidable", "score", "verdict"];
const data = JSON.parse(document.getElementById("table-data").textContent);
const byId = (name) => document.getElementById(name);
const count = (n) => n.toLocaleString("en");

// Names sort by their rank, found once, so that a sort compares numbers.
const ranks = new Array(data.names.length);
[...data.names.keys()].sort((a, b) => (data.names[a] < data.names[b] ? -1 : data.names[a] > data.names[b] ? 1 : 0))
  .forEach((name, rank) => { ranks[name] = rank; });
const sortKeys = { image1: data.image1.map((name) => ranks[name]), image2: data.image2.map((name) => ranks[name]) };

let order = [...data.image1.keys()];
let shown = order;
let page = 0;
let sorting = { column: null, ascending: true };

function text(column, row) {
  const value = data[column][row];
  if (column === "image1" || column === "image2") return data.names[value];
  if (column === "score") return value === null ? "" : value.toFixed(4);
  return String(value);
}

function draw() {
  const pages = Math.max(1, Math.ceil(shown.length / PAGE_SIZE));
  page = Math.min(Math.max(page, 0), pages - 1);
  const rows = shown.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE).map((row) => {
    const drawn = document.createElement("tr");
    for (const column of COLUMNS) drawn.insertCell().textContent = text(column, row);
    return drawn;
  });
  document.querySelector("#overlap-table tbody").replaceChildren(...rows);
  byId("shown").textContent = `${count(shown.length)} of ${count(order.length)} overlaps, page ${page + 1} of ${pages}`;
  byId("previous").disabled = page === 0;
  byId("following").disabled = page === pages - 1;
  for (const header of document.querySelectorAll("th[data-column]")) {
    const chosen = header.dataset.column === sorting.column;
    header.setAttribute("aria-sort", chosen ? (sorting.ascending ? "ascending" : "descending") : "none");
  }
}

function filter() {
  const wanted = byId("filter-name").value.toLowerCase();
  const verdict = byId("filter-verdict").value;
  const named = data.names.map((name) => name.toLowerCase().includes(wanted));
  shown = order.filter((row) => (named[data.image1[row]] || named[data.image2[row]]) && (!verdict || data.verdict[row] === verdict));
  page = 0;
  draw();
}

function sort(column) {
  sorting = { column, ascending: sorting.column === column ? !sorting.ascending : true };
  const keys = sortKeys[column] || data[column];
  const sign = sorting.ascending ? 1 : -1;
  order.sort((a, b) => {
    if (keys[a] === keys[b]) return a - b;
    if (keys[a] === null) return 1; // what has no score stays last
    if (keys[b] === null) return -1;
    return keys[a] < keys[b] ? -sign : sign;
  });
  filter();
}

for (const header of document.querySelectorAll("th[data-column]")) {
  header.querySelector("button").addEventListener("click", () => sort(header.dataset.column));
}
byId("filter-name").addEventListener("input", filter);
byId("filter-verdict").addEventListener("change", filter);
byId("previous").addEventListener("click", () => { page -= 1; draw(); });
byId("following").addEventListener("click", () => { page += 1; draw(); });
draw();
