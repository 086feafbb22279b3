/* Tables: sorted by the buttons in their heads, and filtered, with the cards and the images, by what their elements are of. */
for (const control of document.querySelectorAll(".control[hidden]")) control.hidden = false;

/* The number that a cell begins with, or its text; cells without either come last. */
function sortKey(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace("−", "-"));
  return Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  const missing = (value) => value === "" || value === "–" || /^– /.test(value);
  if (missing(a) || missing(b)) return null;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

function sort(table, head, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[head.cellIndex]) }));
  const last = ({ key }) => compare(key, key) === null;
  if (direction === "none") rows.sort((a, b) => a.row.dataset.index - b.row.dataset.index);
  else rows.sort((a, b) => last(a) - last(b) || (compare(a.key, b.key) ?? 0) * (direction === "descending" ? -1 : 1));
  body.append(...rows.map(({ row }) => row));
  for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
  if (direction !== "none") head.setAttribute("aria-sort", direction);
}

const NEXT = { none: "ascending", ascending: "descending", descending: "none" };

for (const table of document.querySelectorAll("main table")) {
  [...table.tBodies[0].rows].forEach((row, index) => { row.dataset.index = index; });
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, head, NEXT[head.getAttribute("aria-sort") ?? "none"]));
  }
}

const filters = document.getElementById("filters");

function applyFilters() {
  const chosen = [...filters.querySelectorAll("select")].filter((select) => select.selectedIndex > 0);
  const names = [...filters.querySelectorAll("select")].map((select) => select.name);
  for (const element of document.querySelectorAll(names.map((name) => `main [data-${name}]`).join(","))) {
    element.hidden = chosen.some(({ name, value }) => name in element.dataset && element.dataset[name] !== value);
  }
  const cards = [...document.querySelectorAll(".card")];
  const shown = cards.filter((card) => !card.hidden).length;
  filters.querySelector("output").textContent = chosen.length ? `${shown} of ${cards.length} cells` : "";
}

if (filters) { // a page with a single cell has none
  filters.addEventListener("change", applyFilters);
  filters.addEventListener("reset", () => setTimeout(applyFilters));
  applyFilters(); // a browser may bring back what was chosen before a reload
}
