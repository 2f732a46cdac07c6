// What is shown of a photo: its picture with map and boxes, its card in the list, and all about it.
const SVG = "http://www.w3.org/2000/svg";
function drawn(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
function made(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
const fixed = (value, otherwise = "unknown") => (value === null ? otherwise : value.toFixed(2));
const counted = (count, name) => `${count} ${name}${count === 1 ? "" : name.endsWith("x") ? "es" : "s"}`;
function described(row) {
  return `${row.file}: ${row.label}, ${row.boxes.length ? counted(row.boxes.length, "box") : "no box"}`;
}
// The photo fills the width of its place or its height; boxes are stated in pixels of the photo, the best one first.
function picture(row, photo, overlay, share) {
  const all = { width: row.width, height: row.height, preserveAspectRatio: "none" };
  const shown = drawn("svg", { viewBox: `0 0 ${row.width} ${row.height}`, role: "img", "aria-label": described(row) });
  shown.append(drawn("image", { ...all, href: `data:image/jpeg;base64,${photo}` }));
  if (overlay) shown.append(drawn("image", { ...all, class: "overlay", opacity: share, href: `data:image/jpeg;base64,${overlay}` }));
  for (const [number, { box }] of [...row.boxes.entries()].reverse()) {
    const place = { x: box[0], y: box[1], width: Math.max(0, box[2] - box[0]), height: Math.max(0, box[3] - box[1]) };
    shown.append(drawn("rect", { ...place, class: "edge" }), drawn("rect", { ...place, class: number ? "other" : "best" }));
  }
  return shown;
}
function verdictButton(verdict, name) {
  return made("button", { type: "button", class: verdict, "data-verdict": verdict }, name);
}
function card(row, shown) {
  const open = made("button", { type: "button", class: "open", title: "All about this photo (Enter)" }, shown);
  const figures = `conf. ${fixed(row.confidence, "–")}, IoU ${fixed(row.expected_iou, "–")}`;
  const meant = `confidence ${fixed(row.confidence)}, expected IoU ${fixed(row.expected_iou)}`;
  const warned = row.warnings.join("; ");
  const texts = [["file", row.file, row.file], ["label", row.label, row.label], ["figures", figures, meant], ["warned", warned, warned]];
  const lines = texts.map(([name, text, title]) => made("div", { class: name, title }, made("bdi", {}, text)));
  const buttons = made("div", { class: "actions" }, verdictButton("accept", "Accept"), verdictButton("reject", "Reject"));
  return made("li", { class: "card" }, open, ...lines, buttons);
}
function judged(element, verdict) {
  element.classList.toggle("accepted", verdict === "accept");
  element.classList.toggle("rejected", verdict === "reject");
  for (const button of element.querySelectorAll("[data-verdict]")) button.setAttribute("aria-pressed", button.dataset.verdict === verdict);
}
// Terms and texts of all that a row says.
function facts(row) {
  const found = [["file", row.file], ["class", `${row.label} (${row.label_source}), confidence ${fixed(row.confidence)}`]];
  found.push(...Object.entries(row.ancestors));
  if (row.top.length) found.push(["most probable", row.top.map(([name, probability]) => `${name} ${fixed(probability)}`).join(", ")]);
  const reaches = row.reaches_50 === null ? "" : `, 0.5 or more with probability ${fixed(row.reaches_50)}`;
  found.push(["expected IoU", fixed(row.expected_iou) + reaches]);
  for (const { box, score } of row.boxes) found.push(["box", `${box.map((edge) => Math.round(10 * edge) / 10).join(", ")}; score ${fixed(score)}`]);
  if (!row.boxes.length) found.push(["box", "none"]);
  found.push(["photo", `${row.width} × ${row.height} pixels`], ...row.warnings.map((text) => ["warning", text]));
  return found.flatMap(([term, text]) => [made("dt", {}, term), made("dd", { dir: "auto" }, text)]);
}
