"use strict";

const table = document.getElementById("candidates");
const card = document.getElementById("card");
const figure = document.querySelector(".fronts");
const marks = [...document.querySelectorAll(".front .candidate")];
const headings = [...table.tHead.rows[0].cells];
const rowOf = new Map([...table.tBodies[0].rows].map((row) => [row.dataset.name, row]));

function add(parent, name, content) {
  const child = document.createElement(name);
  child.textContent = content;
  parent.append(child);
  return child;
}

function wordsOf(cell) {
  return [...cell.childNodes].map((node) => node.textContent.trim()).join(" ");
}

function show(mark) {
  const row = rowOf.get(mark.dataset.name);
  const list = document.createElement("dl");
  card.replaceChildren();
  add(card, "strong", mark.dataset.name);
  headings.slice(1).forEach((heading, index) => {
    const content = wordsOf(row.cells[index + 1]);
    if (content) {
      add(list, "dt", heading.textContent);
      add(list, "dd", content);
    }
  });
  card.append(list);
  card.classList.add("shown");
  put(mark);
}

function put(mark) {
  const frame = figure.getBoundingClientRect();
  const place = mark.querySelector(".filled, .hollow").getBoundingClientRect();
  const right = place.right - frame.left + 14;
  const left = place.left - frame.left - card.offsetWidth - 14;
  const top = place.top - frame.top + place.height / 2 - card.offsetHeight / 2;
  card.style.left = `${right + card.offsetWidth < frame.width ? right : Math.max(left, 8)}px`;
  card.style.top = `${Math.max(8, Math.min(top, frame.height - card.offsetHeight - 8))}px`;
}

function hide() {
  card.classList.remove("shown");
}

function highlight(name) {
  for (const [each, row] of rowOf) row.classList.toggle("active", each === name);
  for (const mark of marks) mark.classList.toggle("active", mark.dataset.name === name);
}

function find(mark) {
  highlight(mark.dataset.name);
  rowOf.get(mark.dataset.name).scrollIntoView({ block: "center", inline: "nearest", behavior: "smooth" });
}

function activate(mark) {
  const title = mark.querySelector("title");
  mark.setAttribute("aria-label", title.textContent);
  mark.setAttribute("role", "button");
  mark.setAttribute("tabindex", "0");
  title.remove();
  mark.addEventListener("mouseenter", () => show(mark));
  mark.addEventListener("mouseleave", hide);
  mark.addEventListener("focus", () => show(mark));
  mark.addEventListener("blur", hide);
  mark.addEventListener("click", () => find(mark));
  mark.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      find(mark);
    }
  });
}

function turnTo(cost) {
  hide();
  for (const front of figure.querySelectorAll("[data-cost]")) front.hidden = front.dataset.cost !== cost;
  for (const button of document.querySelectorAll(".toggle button")) {
    button.setAttribute("aria-pressed", String(button.dataset.cost === cost));
  }
}

function compare(one, other, column) {
  const [left, right] = [one, other].map((row) => row.cells[column].dataset.order);
  const numeric = headings[column].classList.contains("numeric");
  return numeric ? Number(left) - Number(right) : left.localeCompare(right);
}

function sort(column) {
  const descending = headings[column].getAttribute("aria-sort") === "ascending";
  headings.forEach((heading) => heading.removeAttribute("aria-sort"));
  headings[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...rowOf.values()];
  const known = rows.filter((row) => row.cells[column].dataset.order !== "");
  const unknown = rows.filter((row) => row.cells[column].dataset.order === "");
  known.sort((one, other) => (descending ? -1 : 1) * compare(one, other, column));
  table.tBodies[0].append(...known, ...unknown);
}

document.querySelectorAll("svg.front").forEach((svg) => svg.setAttribute("role", "group"));
marks.forEach(activate);
headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => sort(column)));
document.querySelectorAll(".toggle button").forEach((button) => {
  button.addEventListener("click", () => turnTo(button.dataset.cost));
});
for (const [name, row] of rowOf) row.addEventListener("click", () => highlight(name));
turnTo("latency");
