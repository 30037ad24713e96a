// The lines of a log, shown or not: their levels, groups and matches. Nothing here knows how they are drawn.
//
// A line that has several rows of text is kept as that many rows; those after the first are its continuation.

import { isColoured, plain, styleAfter } from "./ansi.js";

export const LEVELS = ["debug", "info", "warning", "error"];
export const MOST_ROWS = 50_000;
const EVICTED_AT_ONCE = 1000;
const LONGEST_ROW = 4000; // characters; of longer ones, each is laid out as a whole

const noCounts = () => ({ all: 0, debug: 0, info: 0, warning: 0, error: 0 });

export class Lines {
  #rows = [];
  #nextId = 0;
  #lineCount = 0;
  #group = null;
  #level = "all";
  #words = "";
  #only = false;

  /** `appended(from)` is called when rows were added to the shown ones, `changed(dropped)` when these are others. */
  constructor({ appended, changed }) {
    this.appended = appended;
    this.changed = changed;
    this.#empty();
  }

  clear() {
    this.#empty();
    this.changed([]);
  }

  #empty() {
    this.#rows = [];
    this.#group = null;
    this.#lineCount = 0;
    this.shown = []; // rows that are neither filtered out nor folded
    this.matches = []; // rows that have the words
    this.counts = noCounts();
    this.passing = 0; // lines that are not filtered out
    this.folded = 0;
    this.evicted = 0;
    this.firstError = null;
  }

  get isFiltered() {
    return this.#level !== "all" || (this.#only && this.#words !== "");
  }

  get words() {
    return this.#words;
  }

  get last() {
    return this.#rows.at(-1);
  }

  /**
   * Add lines: each with the `number` of its event and `time` (or null), its `level`, and its `text`, or `say` for a
   * remark. Lines are counted for the eye; a link has the number of the event, which stays what it is when older events
   * are evicted.
   */
  add(lines) {
    const from = this.shown.length;
    for (const line of lines) {
      if (line.group === "end") {
        this.#group = this.#group?.parent ?? null;
        continue;
      }
      const group = line.group === "begin" ? { parent: this.#group, isFolded: false, size: 0 } : null;
      for (const row of rowsOf(line)) this.#append(row, group);
      if (group) this.#group = group;
    }
    if (this.#rows.length > MOST_ROWS + EVICTED_AT_ONCE) this.#evict();
    else this.appended(from);
  }

  #append(row, group) {
    row.id = this.#nextId++;
    row.opens = row.isFirst ? group : null;
    if (row.isFirst && row.level) row.line = ++this.#lineCount;
    row.group = this.#group;
    for (let each = this.#group; each; each = each.parent) each.size += 1;
    this.#rows.push(row);
    if (row.isFirst && row.level) {
      this.counts.all += 1;
      this.counts[row.level] += 1;
      if (row.level === "error") this.firstError ??= row;
    }
    this.#show(row);
  }

  /** Sort a row among those shown, and the matches. */
  #show(row) {
    if (!this.#passes(row)) return;
    const matches = this.#words !== "" && textOf(row).toLowerCase().includes(this.#words);
    if (matches) this.matches.push(row);
    if (this.#only && this.#words && !matches && row.level) return;
    if (row.isFirst && row.level) this.passing += 1;
    if (!this.isFiltered && isFolded(row)) this.folded += 1;
    else this.shown.push(row);
  }

  #passes(row) {
    return !row.level || this.#level === "all" || LEVELS.indexOf(row.level) >= LEVELS.indexOf(this.#level);
  }

  #evict() {
    const before = this.shown;
    const left = this.#rows.splice(0, this.#rows.length - MOST_ROWS);
    for (const row of left) {
      if (!row.isFirst || !row.level) continue;
      this.evicted += 1;
      this.counts.all -= 1;
      this.counts[row.level] -= 1;
    }
    const first = this.#rows[0].id;
    if (this.firstError?.id < first) this.firstError = this.#rows.find((row) => row.isFirst && row.level === "error") ?? null;
    this.#sort(before.slice(0, position(before, first)));
  }

  /** Sort all rows anew. */
  #sort(dropped = []) {
    this.shown = [];
    this.matches = [];
    this.passing = 0;
    this.folded = 0;
    for (const row of this.#rows) this.#show(row);
    this.changed(dropped);
  }

  setLevel(level) {
    this.#level = level;
    this.#sort();
  }

  search(words, only = this.#only) {
    const wasShown = this.isFiltered;
    this.#words = words.toLowerCase();
    this.#only = only;
    if (wasShown || this.isFiltered) return this.#sort();
    // Which rows are shown does not depend on the words.
    this.matches = this.#words ? this.#rows.filter((row) => textOf(row).toLowerCase().includes(this.#words)) : [];
    return this.changed([]);
  }

  /** Fold or unfold a group. */
  toggle(group) {
    group.isFolded = !group.isFolded;
    this.#sort();
  }

  /** Unfold all groups around a row. Returns its position among the shown rows, or -1 if it is filtered out. */
  reveal(row) {
    if (isFolded(row)) {
      for (let group = row.group; group; group = group.parent) group.isFolded = false;
      this.#sort();
    }
    const place = position(this.shown, row.id);
    return this.shown[place] === row ? place : -1;
  }

  /** The line of the event of this number, or undefined. */
  find(number) {
    return this.#rows.find((row) => row.isFirst && row.number === number);
  }

  /** What a reader would copy: the shown rows, as they are drawn. */
  textOfShown(prefix) {
    return this.shown.map((row) => `${prefix(row)}${textOf(row)}\n`).join("");
  }
}

/** The text of a row as it is seen. */
export const textOf = (row) => (row.say ? row.say() : plain(row.text));

/** The position of the first of these rows with this id or a later one. */
export function position(rows, id) {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle].id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isFolded(row) {
  for (let group = row.group; group; group = group.parent) if (group.isFolded) return true;
  return false;
}

function rowsOf(line) {
  if (line.say) return [{ ...line, isFirst: true, style: null }];
  const rows = [];
  let style = null;
  for (const text of pieces(line.text)) {
    rows.push({ ...line, text, isFirst: rows.length === 0, style });
    if (style || isColoured(text)) style = styleAfter(text, style);
  }
  return rows;
}

function pieces(text) {
  if (text.length <= LONGEST_ROW && !text.includes("\n")) return [text];
  const found = [];
  for (const row of text.replaceAll("\r\n", "\n").split("\n")) {
    for (let start = 0; start === 0 || start < row.length; start += LONGEST_ROW) found.push(row.slice(start, start + LONGEST_ROW));
  }
  return found;
}
