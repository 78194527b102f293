"use strict";

// A number as tables write it, a time span in seconds, or null for other text.
function numberOf(text) {
  const span = text.match(/^(?:(\d+) h ?)?(?:(\d+) min ?)?(?:([\d.]+) s)?$/);
  if (text && span) {
    const [hours, minutes, seconds] = span.slice(1).map((part) => Number(part ?? 0));
    return 3600 * hours + 60 * minutes + seconds;
  }
  const found = text.match(/^[+-]?\d[\d,]*(\.\d+)?(e[+-]?\d+)?(?=$|[ %])/);
  return found ? Number(found[0].replaceAll(",", "")) : null;
}

// The rows by a column; those without a value come last in either direction.
function sorted(rows, column, direction) {
  const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
  const isMissing = (row) => ["", "-"].includes(texts.get(row));
  const known = rows.filter((row) => !isMissing(row));
  const values = new Map(known.map((row) => [row, numberOf(texts.get(row))]));
  const areNumbers = known.every((row) => values.get(row) !== null);
  const compare = areNumbers
    ? (a, b) => values.get(a) - values.get(b)
    : (a, b) => texts.get(a).localeCompare(texts.get(b), "en", { numeric: true });
  known.sort((a, b) => direction * compare(a, b));
  return [...known, ...rows.filter(isMissing)];
}

// A click on a heading sorts up, the next one down, the third one as it was.
function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      const order = next[heading.ariaSort ?? "none"];
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      table.classList.toggle("sorted", order !== "none");
      if (order !== "none") heading.ariaSort = order;
      const direction = order === "descending" ? -1 : 1;
      const rows = order === "none" ? original : sorted(original, column, direction);
      body.append(...rows);
    });
  });
}

function save(button) {
  const link = document.createElement("a");
  const content = new Blob([button.dataset.csv], { type: "text/csv" });
  link.href = URL.createObjectURL(content);
  link.download = button.dataset.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("button.save").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => save(button));
});

// What is folded on the screen is printed, by browsers without the style for it too.
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((part) => (part.open = true));
});
addEventListener("afterprint", () => folded.forEach((part) => (part.open = false)));
