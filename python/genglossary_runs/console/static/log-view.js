// Draws the rows of a log that are in view, and only those. The newest stays in view unless the reader scrolls up.

import { parts } from "./ansi.js";
import { addressOf } from "./address.js";
import { $, element, setText } from "./dom.js";
import { Heights } from "./heights.js";
import { clock, text } from "./texts.js";

const AROUND = 20; // rows drawn above and below those in view
const NEAR_END = 24; // pixels: a reader who scrolls down so far means the end

export class LogView {
  runId = null;
  target = null; // the row that the address names, or a search has found
  unseen = 0;
  #rows = [];
  #heights = new Heights();
  #drawn = new Map(); // elements by the id of their row
  #words = "";
  #wraps = false;
  #rowHeight = 20;
  #columns = 80;
  #atEnd = true;
  #lastTop = 0;
  #drawnTop = -1;
  #frameAsked = false;

  /** `moved` is called when the view was scrolled or drawn; `toggle` folds a group. */
  constructor({ moved, toggle }) {
    this.moved = moved;
    this.frame = $("log");
    this.space = $("log-lines");
    this.window = element("div", { className: "window" });
    this.space.append(this.window);
    this.frame.addEventListener("scroll", () => this.#seeScroll(), { passive: true });
    this.frame.addEventListener("keydown", (event) => {
      if (event.key === "End") this.goToEnd();
      else if (event.key === "Home") this.#scrollTo(0);
      else return;
      event.preventDefault();
    });
    this.window.addEventListener("click", (event) => {
      const button = event.target.closest(".fold");
      if (button) toggle(this.#rowOf(button).opens);
    });
    new ResizeObserver(() => this.#measure()).observe(this.frame);
  }

  get atEnd() {
    return this.#atEnd;
  }

  /** Show these rows in place of those before; `dropped` are those of them that were above and are gone. */
  show(rows, words = this.#words, dropped = []) {
    const gone = dropped.reduce((sum, row) => sum + this.#heightOf(row), 0);
    const anchor = gone ? null : this.#anchor();
    // Elements of rows that look the same stay: the focus or a selection may be in them.
    if (words !== this.#words) this.#clearDrawn();
    this.#rows = rows;
    this.#words = words;
    this.#heights = new Heights(rows.map((row) => this.#heightOf(row)));
    if (gone) this.#scrollTo(this.frame.scrollTop - gone, this.#atEnd);
    else if (anchor && !this.#atEnd) this.#keep(anchor);
    this.draw();
  }

  /** Show the rows that were added from this position on. */
  append(from) {
    for (const row of this.#rows.slice(from)) this.#heights.push(this.#heightOf(row));
    if (!this.#atEnd) this.unseen += this.#rows.slice(from).filter((row) => row.isFirst && row.level).length;
    this.#askFrame();
  }

  /** Start at the end again, as for another log. */
  reset() {
    this.#atEnd = true;
    this.unseen = 0;
    this.target = null;
  }

  setWrap(wraps) {
    this.#wraps = wraps;
    this.frame.dataset.wrap = wraps;
    this.#measure();
  }

  /** Draw all again, as for another language. */
  redraw() {
    this.#clearDrawn();
    this.draw();
  }

  goToEnd() {
    this.#atEnd = true;
    this.draw();
  }

  /** Bring the row at this position into the middle of the view, and mark it. */
  goTo(place) {
    this.target = this.#rows[place];
    this.#atEnd = false;
    // Rows that are drawn for the first time may be higher than was assumed.
    for (let tries = 0; tries < 3; tries += 1) {
      const middle = this.#heights.top(place) - (this.frame.clientHeight - this.#heights.get(place)) / 2;
      this.#scrollTo(middle);
    }
    for (const [id, drawn] of this.#drawn) drawn.classList.toggle("target", id === this.target.id);
  }

  /** Draw what is in view. */
  draw() {
    for (let tries = 0; tries < 3; tries += 1) {
      this.space.style.blockSize = `${this.#heights.total}px`;
      if (this.#atEnd) this.frame.scrollTop = this.frame.scrollHeight;
      const { scrollTop, clientHeight } = this.frame;
      const first = Math.max(0, this.#heights.at(scrollTop) - AROUND);
      const end = Math.min(this.#rows.length, this.#heights.at(scrollTop + clientHeight) + AROUND + 1);
      this.#place(first, end);
      if (!this.#wraps || !this.#measureDrawn(first, end)) break;
    }
    this.#lastTop = this.#drawnTop = this.frame.scrollTop;
    if (this.#atEnd) this.unseen = 0;
    this.moved();
  }

  #askFrame() {
    if (this.#frameAsked) return;
    this.#frameAsked = true;
    requestAnimationFrame(() => {
      this.#frameAsked = false;
      // A reader may have scrolled just now, and the event is yet to come.
      this.#seeMove();
      this.draw();
    });
  }

  /** Put the elements of these rows in place, reusing those that are there. */
  #place(first, end) {
    const wanted = this.#rows.slice(first, end);
    const kept = new Set(wanted.map((row) => row.id));
    for (const [id, drawn] of this.#drawn) {
      if (kept.has(id)) continue;
      drawn.remove();
      this.#drawn.delete(id);
    }
    let before = this.window.firstChild;
    for (const row of wanted) {
      let drawn = this.#drawn.get(row.id);
      if (!drawn) {
        drawn = this.#element(row);
        this.#drawn.set(row.id, drawn);
      }
      if (row.opens) showFold(drawn, row.opens);
      if (drawn === before) before = before.nextSibling;
      else this.window.insertBefore(drawn, before);
    }
    this.window.style.transform = `translateY(${this.#heights.top(first)}px)`;
  }

  /** Take the true heights of rows that are drawn for the first time. Returns whether any was another. */
  #measureDrawn(first, end) {
    const anchor = this.#anchor();
    let differs = false;
    for (let place = first; place < end; place += 1) {
      const row = this.#rows[place];
      if (row.height !== undefined) continue;
      row.height = this.#drawn.get(row.id).getBoundingClientRect().height;
      if (Math.abs(row.height - this.#heights.get(place)) < 0.5) continue;
      this.#heights.set(place, row.height);
      differs = true;
    }
    if (differs && !this.#atEnd) this.#keep(anchor);
    return differs;
  }

  /** The row at the top of the view, and how much of it is above. */
  #anchor() {
    const place = this.#heights.at(this.frame.scrollTop);
    return place < 0 ? null : { row: this.#rows[place], above: this.frame.scrollTop - this.#heights.top(place) };
  }

  /** Have the anchor at the top of the view again, or what follows it. */
  #keep({ row, above }) {
    const place = this.#rows.findIndex((each) => each.id >= row.id);
    if (place < 0) return;
    this.space.style.blockSize = `${this.#heights.total}px`;
    this.frame.scrollTop = this.#heights.top(place) + (this.#rows[place] === row ? above : 0);
    this.#lastTop = this.frame.scrollTop;
  }

  #scrollTo(top, atEnd = false) {
    this.#atEnd = atEnd;
    this.space.style.blockSize = `${this.#heights.total}px`;
    this.frame.scrollTop = top;
    this.draw();
  }

  #seeScroll() {
    this.#seeMove();
    // What draws scrolls, too.
    if (this.frame.scrollTop === this.#drawnTop) this.moved();
    else this.draw();
  }

  #seeMove() {
    const { scrollTop, scrollHeight, clientHeight } = this.frame;
    const left = scrollHeight - scrollTop - clientHeight;
    const moved = scrollTop - this.#lastTop;
    // Lines that arrive move the end away, but only a reader moves up.
    if (left <= 1 || (moved > 0 && left < NEAR_END)) this.#atEnd = true;
    else if (moved < 0) this.#atEnd = false;
    this.#lastTop = scrollTop;
  }

  /** Learn how high a row is, and how many characters it has room for. */
  #measure() {
    const style = getComputedStyle(this.frame);
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.font = style.font;
    this.#rowHeight = parseFloat(style.lineHeight);
    const gutter = parseFloat(style.getPropertyValue("--gutter")) * canvas.measureText("0").width;
    this.#columns = Math.max(1, Math.floor((this.frame.clientWidth - gutter) / canvas.measureText("0").width));
    for (const row of this.#rows) row.height = undefined;
    this.show(this.#rows);
  }

  #heightOf(row) {
    if (!this.#wraps) return this.#rowHeight;
    return row.height ?? this.#rowHeight * Math.max(1, Math.ceil((row.text?.length ?? 0) / this.#columns));
  }

  #clearDrawn() {
    this.#drawn.clear();
    this.window.replaceChildren();
  }

  #rowOf(node) {
    const drawn = node.closest(".line");
    return this.#rows.find((row) => this.#drawn.get(row.id) === drawn);
  }

  #element(row) {
    const isRemark = Boolean(row.say);
    const kind = [row.level ?? row.kind, row.opens && "heading", row.group && "inside", row === this.target && "target"];
    return element(
      "div",
      { className: `line ${kind.filter(Boolean).join(" ")}` },
      this.#numberElement(row),
      element("time", {}, row.isFirst && row.time ? clock(new Date(row.time)) : ""),
      levelElement(row),
      element("span", { className: "text", dir: "auto" }, ...(isRemark ? [row.say()] : this.#textElements(row))),
    );
  }

  #numberElement(row) {
    if (row.line === undefined || row.number === null) return element("span", { className: "number" });
    const href = addressOf(this.runId, row.number);
    // Not in the order of the Tab key, which would stop at each: a search marks a line, which "Copy link" then names.
    const label = text("lineLink", row.line);
    return element("a", { className: "number", href, tabIndex: -1, ariaLabel: label }, String(row.line));
  }

  #textElements(row) {
    const found = parts(row.text, row.style).flatMap(({ text: words, classes }) => {
      const marked = this.#marked(words);
      return classes ? [element("span", { className: classes }, ...marked)] : marked;
    });
    if (!row.opens) return found;
    return [element("button", { type: "button", className: "fold" }), ...found, element("span", { className: "count" })];
  }

  /** The text with its matches marked. */
  #marked(words) {
    const lower = words.toLowerCase();
    // There are letters whose small form is longer; then places in the one are none in the other.
    if (!this.#words || lower.length !== words.length) return [words];
    const found = [];
    let end = 0;
    for (let start = lower.indexOf(this.#words); start >= 0; start = lower.indexOf(this.#words, end)) {
      found.push(words.slice(end, start), element("mark", {}, words.slice(start, start + this.#words.length)));
      end = start + this.#words.length;
    }
    return [...found, words.slice(end)];
  }
}

/** Show on a heading whether its group is folded, and how many lines that hides. */
function showFold(drawn, { isFolded, size }) {
  const button = drawn.querySelector(".fold");
  const isOpen = String(!isFolded);
  if (button.ariaExpanded !== isOpen) Object.assign(button, { ariaExpanded: isOpen, ariaLabel: text(isFolded ? "unfold" : "fold") });
  setText(drawn.querySelector(".count"), isFolded ? ` ${text("allLines", size)}` : "");
}

/** A sign for the eye, which the style sheet draws, and the word for the ear. */
function levelElement(row) {
  if (!row.isFirst || !row.level) return element("span", { className: "level" });
  return element("span", { className: "level" }, element("span", { className: "unseen" }, text("levels")[row.level]));
}
