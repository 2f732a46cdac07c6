// The list of a gallery: sorted and filtered rows, of which only those on screen have cards; keys and buttons.
const get = (id) => document.getElementById(id);
const about = JSON.parse(get("about").textContent);
const rows = [...document.querySelectorAll("script.row")].map((one) => JSON.parse(one.textContent));
const sources = ["photo", "overlay"].map((name) => document.querySelectorAll(`script.${name}`)); // read when shown
const verdicts = new Verdicts(rows.map((row) => row.file), about.key);
const cards = get("cards"), filters = get("filters"), detail = get("detail"), help = get("help");
const alive = new Map(); // photo to its card
let shown = rows.map((_, photo) => photo); // photos in the order of the list
let current = 0; // place in the list
let columns = 1, rowHeight = 0, cardWidth = 0;

// Sorting and filtering.
const ranked = (name) => {
  const collator = new Intl.Collator("en", { numeric: true });
  const values = [...new Set(rows.map((row) => row[name]))].sort(collator.compare);
  const rank = new Map(values.map((value, place) => [value, place]));
  return { values, ranks: rows.map((row) => rank.get(row[name])) };
};
const classes = ranked("label");
const keys = { file: ranked("file").ranks, label: classes.ranks };
for (const name of ["confidence", "expected_iou"]) keys[name] = rows.map((row) => row[name]);
const groups = rows.map((row) => [row.label, ...Object.values(row.ancestors)].join("\n").toLowerCase());
const value = (name) => filters.elements[name].value;
const limit = (name, otherwise) => (value(name) === "" ? otherwise : Number(value(name)));

function fits() {
  const file = value("file").toLowerCase(), group = value("class").toLowerCase(), label = value("label");
  const [warnings, verdict] = [value("warnings"), value("verdict")];
  const ranges = ["confidence", "expected_iou"].filter((name) => value(`${name}_low`) + value(`${name}_high`) !== "")
    .map((name) => [name, limit(`${name}_low`, -Infinity), limit(`${name}_high`, Infinity)]);
  return (photo) => {
    const row = rows[photo], given = verdicts.each[photo];
    return (!file || row.file.toLowerCase().includes(file))
      && (!group || groups[photo].includes(group))
      && (label === "" || keys.label[photo] === Number(label))
      && ranges.every(([name, low, high]) => row[name] !== null && row[name] >= low && row[name] <= high)
      && (!warnings || (row.warnings.length > 0) === (warnings === "with"))
      && (!verdict || given === (verdict === "left" ? "" : verdict));
  };
}

function arrange() {
  const key = keys[value("sort")], order = Number(value("order"));
  shown = rows.map((_, each) => each).filter(fits()).sort((a, b) => {
    if (key[a] === null || key[b] === null) return (key[a] === null) - (key[b] === null) || a - b; // unknown ones last
    return order * (key[a] - key[b]) || a - b;
  });
  current = 0;
  get("shown").textContent = shown.length === rows.length ? `${rows.length} photos` : `${shown.length} of ${rows.length} photos`;
  get("none").hidden = shown.length > 0;
  const top = cards.getBoundingClientRect().top + scrollY - barHeight();
  if (scrollY > top) scrollTo(0, top);
  render();
}

function offerClasses() {
  const text = value("class").toLowerCase(), select = filters.elements.label, chosen = select.value;
  const counts = classes.values.map(() => 0), fitting = classes.values.map(() => false);
  keys.label.forEach((rank, photo) => {
    counts[rank] += 1;
    fitting[rank] ||= groups[photo].includes(text);
  });
  const options = classes.values.map((name, rank) => made("option", { value: rank }, `${name} (${counts[rank]})`));
  select.replaceChildren(made("option", { value: "" }, "all"), ...options.filter((_, rank) => fitting[rank]));
  select.value = [...select.options].some((one) => one.value === chosen) ? chosen : "";
}

// Cards: all have the same size, so that their places follow from their numbers.
const barHeight = () => document.querySelector(".bar").offsetHeight;

function newCard(photo) {
  const one = card(rows[photo], picture(rows[photo], ...sources.map((each) => each[photo].textContent), about.share));
  one.dataset.photo = photo;
  judged(one, verdicts.each[photo]);
  return one;
}

function measure() {
  const style = getComputedStyle(cards), gap = parseFloat(style.rowGap), least = parseFloat(style.getPropertyValue("--least"));
  columns = Math.max(1, Math.floor((cards.clientWidth + gap) / (least + gap)));
  cardWidth = (cards.clientWidth - gap * (columns - 1)) / columns;
  cards.style.setProperty("--width", `${cardWidth}px`);
  const probe = shown.length ? newCard(shown[0]) : null;
  if (probe) {
    cards.append(probe);
    rowHeight = probe.offsetHeight + gap;
    probe.remove();
  }
}

function render() {
  if (!rowHeight) measure();
  const gap = parseFloat(getComputedStyle(cards).rowGap);
  const top = -cards.getBoundingClientRect().top, margin = innerHeight / 2;
  const first = Math.max(0, Math.floor((top - margin) / rowHeight)) * columns;
  const last = Math.min(shown.length, Math.ceil((top + innerHeight + margin) / rowHeight) * columns);
  cards.style.height = `${Math.ceil(shown.length / columns) * rowHeight}px`;
  const wanted = shown.slice(first, Math.max(first, last)), kept = new Set(wanted);
  for (const [photo, one] of alive) if (!kept.has(photo)) (one.remove(), alive.delete(photo));
  let after = cards.firstElementChild;
  wanted.forEach((photo, number) => {
    if (!alive.has(photo)) alive.set(photo, newCard(photo));
    const one = alive.get(photo), place = first + number;
    if (one === after) after = after.nextElementSibling;
    else cards.insertBefore(one, after); // in the order of the list, for whoever goes through the page by Tab
    one.style.transform = `translate(${(place % columns) * (cardWidth + gap)}px, ${Math.floor(place / columns) * rowHeight}px)`;
    one.setAttribute("aria-posinset", place + 1);
    one.setAttribute("aria-setsize", shown.length);
    one.classList.toggle("current", place === current);
  });
}

const waiting = new Set();
function soon(action) { // once, with the next frame
  if (waiting.has(action)) return;
  waiting.add(action);
  requestAnimationFrame(() => (waiting.delete(action), action()));
}

// Moving and judging.
function mark(place) {
  current = place;
  render();
}

// Return whether the current photo is on screen; if not, make it the first that is, lest one is judged unseen.
function seen() {
  if (detail.open || !shown.length) return true;
  const list = cards.getBoundingClientRect().top, top = list + Math.floor(current / columns) * rowHeight;
  if (top + rowHeight / 2 > barHeight() && top + rowHeight / 2 < innerHeight) return true;
  go(Math.ceil(Math.max(0, barHeight() - list - rowHeight / 2) / rowHeight) * columns);
  return false;
}

function step(count) {
  if (seen()) go(current + count);
}

function go(place) {
  if (!shown.length) return;
  current = Math.min(Math.max(place, 0), shown.length - 1);
  const top = cards.getBoundingClientRect().top + Math.floor(current / columns) * rowHeight;
  if (top < barHeight()) scrollBy(0, top - barHeight() - 8);
  else if (top + rowHeight > innerHeight) scrollBy(0, Math.min(top + rowHeight - innerHeight, top - barHeight() - 8));
  render();
  if (detail.open) showDetail();
  else alive.get(shown[current])?.querySelector(".open").focus({ preventScroll: true });
}

function tell() {
  const [accepted, rejected] = [verdicts.count("accept"), verdicts.count("reject")];
  get("left").textContent = `${rows.length - accepted - rejected} left, ${accepted} accepted, ${rejected} rejected`;
  for (const button of [get("undo"), detail.querySelector("[data-undo]")]) button.disabled = !verdicts.past.length;
  get("notice").hidden = verdicts.kept;
  get("notice").textContent = verdicts.kept ? "" : "This browser does not keep the verdicts: save them as verdicts.csv before you leave the page.";
  for (const [photo, one] of alive) judged(one, verdicts.each[photo]);
  if (detail.open) judged(detail, verdicts.each[shown[current]]);
}

function judge(verdict) {
  if (!shown.length || !seen()) return;
  verdicts.set(shown[current], verdict);
  tell();
  go(current + 1);
}

function undo() {
  const place = shown.indexOf(verdicts.undo());
  tell();
  if (place >= 0) go(place);
}

function nextLeft() {
  const order = shown.map((_, place) => (current + 1 + place) % shown.length);
  const place = order.find((each) => !verdicts.each[shown[each]]);
  if (place !== undefined) go(place);
}

function showMap() {
  const without = document.body.classList.toggle("without-maps");
  get("map").setAttribute("aria-pressed", !without);
}

function showDetail() {
  const photo = shown[current], row = rows[photo];
  get("detail-file").textContent = row.file;
  get("place").textContent = `${current + 1} of ${shown.length}`;
  get("detail-photo").replaceChildren(picture(row, ...sources.map((each) => each[photo].textContent), about.share));
  get("detail-facts").replaceChildren(...facts(row));
  judged(detail, verdicts.each[photo]);
  if (!detail.open) detail.showModal();
}

const actions = {
  j: () => step(1), k: () => step(-1), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  ArrowDown: () => step(detail.open ? 1 : columns), ArrowUp: () => step(detail.open ? -1 : -columns),
  a: () => judge("accept"), r: () => judge("reject"), u: undo, n: nextLeft, m: showMap,
  "?": () => (help.open ? help.close() : help.showModal()),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select")) { // letters are its own
    if (event.key === "Escape") event.target.blur();
    return;
  }
  let action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (event.key === "Enter" && event.target === document.body && shown.length) action = () => seen() && showDetail();
  if (!action || (help.open && event.key !== "?")) return;
  event.preventDefault();
  action();
});

cards.addEventListener("click", (event) => {
  const one = event.target.closest(".card"), button = event.target.closest("button");
  if (!one || !button) return;
  const photo = Number(one.dataset.photo), verdict = button.dataset.verdict;
  mark(shown.indexOf(photo));
  if (verdict) verdicts.set(photo, verdicts.each[photo] === verdict ? "" : verdict);
  else showDetail();
  tell();
});
cards.addEventListener("focusin", (event) => {
  const place = shown.indexOf(Number(event.target.closest(".card").dataset.photo));
  if (place !== current) mark(place);
});
detail.addEventListener("click", (event) => {
  const { verdict, step: count, undo: last } = event.target.dataset;
  if (verdict) judge(verdict);
  else if (count) step(Number(count));
  else if (last !== undefined) undo();
});
detail.addEventListener("close", () => go(current));
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
get("next").addEventListener("click", nextLeft);
get("undo").addEventListener("click", undo);
get("map").addEventListener("click", showMap);
get("ask").addEventListener("click", () => help.showModal());
get("download").addEventListener("click", () => verdicts.download());

function filtered(event) {
  if (event.target.name === "class") offerClasses();
  if (event.target.name === "size") resized();
  soon(arrange);
}
function resized() {
  cards.dataset.size = value("size");
  measure();
  render();
}
filters.addEventListener("input", filtered);
filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("reset", () => setTimeout(() => (offerClasses(), resized(), arrange())));
addEventListener("scroll", () => soon(render), { passive: true });
new ResizeObserver(() => soon(resized)).observe(cards.parentElement);
addEventListener("storage", (event) => { // judged in another tab
  if (event.key === verdicts.key) (verdicts.load(), tell());
});
addEventListener("beforeunload", (event) => {
  if (!verdicts.kept && !verdicts.saved) event.preventDefault();
});

get("find-class").hidden = classes.values.length <= 12;
get("controls").open = innerWidth > 800;
filters.elements.size.querySelector(innerWidth > 560 ? "[value=medium]" : "[value=small]").defaultSelected = true;
offerClasses();
resized();
arrange();
tell();
