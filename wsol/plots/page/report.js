"use strict";
// Tables: a click on a column's name sorts by it, up, then down. Numbers by their value, unknown ones last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const key = (row) => row.cells[column].dataset.key;
    const numeric = rows.some((row) => key(row) !== undefined);
    rows.sort((a, b) => {
      if (!numeric) return down * a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", { numeric: true });
      if (key(a) === undefined || key(b) === undefined) return (key(a) === undefined) - (key(b) === undefined);
      return down * (Number(key(a)) - Number(key(b)));
    });
    body.append(...rows);
  }));
}
// Examples: those stay that fit every filter; with a fragment such as #level=order the page opens filtered.
const form = document.querySelector("form.filters");
if (form) {
  const figures = [...document.querySelectorAll(".examples figure")];
  const selects = [...form.querySelectorAll("select")];
  const show = () => {
    let shown = 0;
    for (const figure of figures) {
      figure.hidden = selects.some((select) => select.value && figure.dataset[select.dataset.filter] !== select.value);
      shown += figure.hidden ? 0 : 1;
    }
    form.querySelector("output").textContent = shown === figures.length ? `${shown} maps` : `${shown} of ${figures.length} maps`;
    document.querySelector(".none").hidden = shown > 0;
  };
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const select = selects.find((one) => one.dataset.filter === name);
    if (select) select.value = value;
  }
  show();
}
