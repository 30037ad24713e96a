// Colours of terminals in log lines. Of all escape sequences only those of colours and weights (SGR) mean something
// here; any other control character is written out.

import { visible } from "./dom.js";

const SGR = /\x1b\[([0-9;:]*)m/g;
const PLAIN = Object.freeze({ colour: null, ground: null, weights: Object.freeze([]) });
const WEIGHTS = { 1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "inverse", 9: "struck" };
const ENDS = { 22: ["bold", "dim"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["struck"] };

/** Whether a text has escape sequences of colours. */
export const isColoured = (text) => text.includes("\x1b[");

/** The text as it is seen: without colours, other control characters written out. */
export function plain(text) {
  return visible(isColoured(text) ? text.replace(SGR, "") : text);
}

/** The style after a text that began with `style` (null for none). */
export function styleAfter(text, style) {
  for (const [, codes] of text.matchAll(SGR)) style = apply(codes, style ?? PLAIN);
  return style;
}

/** The parts of a text, each with the classes of its style: `[{text, classes}]`. */
export function parts(text, style) {
  if (!style && !isColoured(text)) return [{ text: visible(text), classes: "" }];
  const found = [];
  let end = 0;
  style ??= PLAIN;
  const take = (until) => {
    if (until > end) found.push({ text: visible(text.slice(end, until)), classes: classesOf(style) });
  };
  for (const match of text.matchAll(SGR)) {
    take(match.index);
    style = apply(match[1], style);
    end = match.index + match[0].length;
  }
  take(text.length);
  return found;
}

function classesOf({ colour, ground, weights }) {
  return [colour === null ? "" : `colour-${colour}`, ground === null ? "" : `ground-${ground}`, ...weights]
    .filter(Boolean)
    .join(" ");
}

/** ECMA-48, 8.3.117, with the colours of xterm. */
function apply(codes, style) {
  const left = codes.split(/[;:]/).map(Number);
  while (left.length > 0) {
    const code = left.shift();
    const tens = Math.floor(code / 10);
    const unit = code % 10;
    if (code === 0) style = PLAIN;
    else if (Object.hasOwn(WEIGHTS, code)) style = { ...style, weights: [...new Set([...style.weights, WEIGHTS[code]])] };
    else if (Object.hasOwn(ENDS, code)) style = { ...style, weights: style.weights.filter((each) => !ENDS[code].includes(each)) };
    else if (code === 38) style = { ...style, colour: extended(left) };
    else if (code === 48) style = { ...style, ground: extended(left) };
    else if (tens === 3) style = { ...style, colour: unit < 8 ? unit : null };
    else if (tens === 4) style = { ...style, ground: unit < 8 ? unit : null };
    else if (tens === 9 && unit < 8) style = { ...style, colour: unit + 8 };
    else if (tens === 10 && unit < 8) style = { ...style, ground: unit + 8 };
  }
  return style;
}

/** The nearest of the sixteen colours, which are told from their ground in both schemes. */
function extended(left) {
  const kind = left.shift();
  if (kind === 2) return nearest(left.splice(0, 3));
  if (kind !== 5) return null;
  const index = left.shift() ?? 0;
  if (index < 16) return index;
  if (index >= 232) return nearest(Array(3).fill(8 + 10 * (index - 232)));
  const cube = index - 16;
  return nearest([Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map((part) => part * 51));
}

function nearest([red = 0, green = 0, blue = 0]) {
  const most = Math.max(red, green, blue);
  if (most < 64) return 0;
  const [r, g, b] = [red, green, blue].map((part) => Number(part > most * 0.6));
  return r + 2 * g + 4 * b + (most > 200 ? 8 : 0);
}
