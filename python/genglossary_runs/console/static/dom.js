// Elements of the page. Texts of runs are only ever set as text, never as markup.

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/** Make an element with these properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Give a node this text, unless it has it: where nothing changes, nothing is laid out. */
export function setText(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

/** Resolves after so many milliseconds. */
export const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

// Control characters other than tab and line feed, and those that change the direction of the text after them.
const UNSEEN = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** The text with such characters written out, as `\u202e`. */
export function visible(text) {
  return text.replace(UNSEEN, (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`);
}

/** What an application published where a text belongs. `String` throws for an object with a `toString` of its own. */
export const textOf = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** Have screen readers say something: what matters now, and not every line. */
export function announce(words) {
  $("news").textContent = words;
}

/** Copy a text to the clipboard. Resolves to whether that worked. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Not allowed, or not there: browsers give it to https and loopback only.
    const area = element("textarea", { value: text, className: "unseen" });
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    return copied;
  }
}
