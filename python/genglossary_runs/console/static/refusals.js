// Why the server did not do what was asked for, in words.

import { NoAnswer } from "./api.js";
import { setText } from "./dom.js";
import { text } from "./texts.js";

const shown = new Map(); // by element, what it says

/** Say in this element of the page why a request has thrown `NoAnswer` or `Refused`; `nameOf` names a run by its id. */
export function showRefusal(node, error, nameOf = undefined) {
  shown.set(node, { error, nameOf });
  setText(node, refusalText(error, nameOf));
  node.hidden = false;
}

/** Say all that is shown again, in another language. */
export function speakRefusals() {
  for (const [node, { error, nameOf }] of shown) if (!node.hidden) setText(node, refusalText(error, nameOf));
}

/** The words for what a request has thrown; `nameOf` as for `showRefusal`. */
export function refusalText(error, nameOf = (id) => text("run", id)) {
  if (error instanceof NoAnswer) return text("noAnswer");
  if (error.status === 401 || error.status === 403) return text("notAllowed");
  if (error.status === 406) return text("noJson");
  if (error.status === 409 && error.body.run_id) return text("stillRunning", nameOf(error.body.run_id));
  return error.message;
}
