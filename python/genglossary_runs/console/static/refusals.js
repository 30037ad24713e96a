// Why the server did not do what was asked for, in words.

import { NoAnswer } from "./api.js";
import { setText } from "./dom.js";
import { text } from "./texts.js";

/** The words for what a request has thrown, `NoAnswer` or `Refused`. */
export function refusalText(error) {
  if (error instanceof NoAnswer) return text("noAnswer");
  if (error.status === 403) return text("notAllowed");
  if (error.status === 406) return text("noJson");
  if (error.status === 409 && error.body.run_id) return text("stillRunning", text("run", error.body.run_id));
  return error.message;
}

/** Say it in this element of the page. */
export function showRefusal(node, error) {
  setText(node, refusalText(error));
  node.hidden = false;
}
