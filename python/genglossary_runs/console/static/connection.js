// Whether the server is there, as its polls and the stream of the run that is shown find out.

import { NoAnswer, Refused } from "./api.js";
import { $, announce, setText } from "./dom.js";
import { clock, text } from "./texts.js";

let state = "connecting";
let lostAt = null;
const missing = new Set();

/** `who` got no answer. */
export function lost(who) {
  missing.add(who);
  lostAt ??= new Date();
  state = "reconnecting";
  showConnection();
}

/** `who` got an answer. */
export function back(who) {
  missing.delete(who);
  if (missing.size > 0 || state === "connected") return;
  if (lostAt) announce(text("connectedAgain"));
  lostAt = null;
  state = "connected";
  showConnection();
}

/** `who` no longer asks. */
export function release(who) {
  if (missing.has(who)) back(who);
}

/** Do `work`, which asks the server; what it throws as `NoAnswer` or `Refused` says how the connection is. */
export async function attempt(work, refused = () => {}) {
  try {
    await work();
    back("server");
  } catch (error) {
    if (error instanceof NoAnswer) {
      lost("server");
    } else if (error instanceof Refused) {
      back("server");
      refused(error);
    } else {
      throw error;
    }
  }
}

export function showConnection() {
  // The style sheet dims what is old while the server does not answer.
  document.body.dataset.connection = state;
  $("connection").dataset.state = state;
  setText($("connection"), text(state));
  $("trouble").hidden = !lostAt;
  setText($("trouble"), lostAt ? text("noAnswerSince", clock(lostAt)) : "");
}
