"use strict";
// The verdicts of a gallery: kept in the browser as one letter a photo, in the order of the page; undone; written as CSV.
const VERDICT_LETTERS = { "": "-", accept: "a", reject: "r" };
class Verdicts {
  constructor(files, key) {
    this.files = files;
    this.key = `wsol-gallery-${key}`;
    this.each = files.map(() => "");
    this.past = []; // [photo, the verdict that it had]
    this.saved = true; // as a file
    this.kept = this.load();
  }
  // Return whether the browser keeps verdicts: it may refuse, by its settings or because its space is used up.
  load() {
    try {
      localStorage.setItem(`${this.key}-try`, "");
      localStorage.removeItem(`${this.key}-try`);
      const letters = localStorage.getItem(this.key) ?? "";
      const names = Object.fromEntries(Object.entries(VERDICT_LETTERS).map(([verdict, letter]) => [letter, verdict]));
      this.each = this.files.map((_, photo) => names[letters[photo]] ?? "");
      return true;
    } catch {
      return false;
    }
  }
  set(photo, verdict) {
    if (this.each[photo] === verdict) return;
    this.past.push([photo, this.each[photo]]);
    this.put(photo, verdict);
  }
  // Undo the last verdict and return its photo, undefined if there is none.
  undo() {
    const last = this.past.pop();
    if (last) this.put(...last);
    return last?.[0];
  }
  put(photo, verdict) {
    this.each[photo] = verdict;
    this.saved = false;
    try {
      localStorage.setItem(this.key, this.each.map((one) => VERDICT_LETTERS[one]).join(""));
      this.kept = true;
    } catch {
      this.kept = false;
    }
  }
  count(verdict) {
    return this.each.filter((one) => one === verdict).length;
  }
  // Every name is quoted; the byte order mark tells spreadsheets that it is UTF-8.
  csv() {
    const rows = this.files.map((file, photo) => [file, this.each[photo]]).filter(([, verdict]) => verdict);
    return `\ufefffile,verdict\r\n${rows.map(([file, verdict]) => `"${file.replaceAll('"', '""')}",${verdict}\r\n`).join("")}`;
  }
  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.csv()], { type: "text/csv;charset=utf-8" }));
    link.download = "verdicts.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    this.saved = true;
  }
}
