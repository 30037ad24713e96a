// Starting runs, where the application lets its page do that.

import { readAddress } from "./address.js";
import { idempotencyKey, NoAnswer, post, Refused } from "./api.js";
import { $ } from "./dom.js";
import { showRefusal } from "./refusals.js";
import { text } from "./texts.js";

const UNUSABLE = 422; // the key belongs to another request

// Of starts that have not succeeded, by the id of the run that is started again. A request without an answer may have
// started a run, or may still be starting it: until one with its key succeeds, another key could start a second run.
const keys = new Map();

/** Whether runs can be started from here. */
export const canStart = () => "start" in document.documentElement.dataset;

/**
 * Start a run: a new one, or `again` one that has ended; `nameOf` names another by its id. Returns the run's record, or
 * null and says why not.
 */
export async function start(again, nameOf) {
  const button = $(again ? "again" : "go");
  const refusal = $(again ? "run-refusal" : "refusal");
  if (button.ariaDisabled === "true") return null;
  button.ariaDisabled = "true";
  button.textContent = text("starting");
  refusal.hidden = true;
  const id = again?.id ?? "";
  const key = keys.get(id) ?? idempotencyKey();
  keys.set(id, key);
  try {
    const run = await post("api/runs", again ? { again: id } : {}, { "Idempotency-Key": key });
    keys.delete(id);
    return run;
  } catch (error) {
    if (error.status === UNUSABLE) keys.delete(id);
    if (!(error instanceof NoAnswer || error instanceof Refused)) throw error;
    if (!again || readAddress()?.runId === id) showRefusal(refusal, error, nameOf);
    return null;
  } finally {
    button.ariaDisabled = "false";
    button.textContent = text(again ? "again" : "start");
  }
}
