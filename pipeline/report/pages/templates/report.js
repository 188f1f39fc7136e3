
"use strict";
// Without this script the tables are plain tables; with it each column of a sortable one can be sorted, by click or key.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const said = document.getElementById("said");
  const collator = new Intl.Collator("en", { numeric: true });
  const read = (row, column) => {
    const cell = row.cells[column];
    const number = cell.classList.contains("number") ? Number.parseFloat(cell.textContent) : "";
    const raw = cell.dataset.value ?? (number === "" ? cell.textContent.trim() : Number.isNaN(number) ? "" : number);
    return raw === "" || Number.isNaN(Number(raw)) ? raw : Number(raw);
  };
  const compare = (first, second) =>
    typeof first === "number" && typeof second === "number" ? first - second : collator.compare(first, second);
  const sort = (head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const rows = [...table.tBodies[0].rows].map((row) => [read(row, column), row]);
    const known = rows.filter(([value]) => value !== "").sort(([a], [b]) => (down ? compare(b, a) : compare(a, b)));
    const unknown = rows.filter(([value]) => value === ""); // what is missing stays last, whichever way
    table.tBodies[0].append(...[...known, ...unknown].map(([, row]) => row));
    for (const other of heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    said.textContent = `Sorted by ${head.textContent.trim()}, ${down ? "descending" : "ascending"}`;
  };
  heads.forEach((head, column) => {
    if (head.dataset.fixed !== undefined) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  });
}
const open = () => {
  const place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = place && place.closest("details");
  if (details) details.open = true;
};
addEventListener("hashchange", open);
open();
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const details of closed) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of closed) details.open = false;
});
