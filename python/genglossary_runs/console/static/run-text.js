// What a run's record says, in words.

import { moment, span, text } from "./texts.js";

export const isActive = (run) => run.status === "queued" || run.status === "running";

export const statusOf = (run) => (isActive(run) && run.cancel_requested ? "stopping" : run.status);

/** What people call a run: its key, and its name, which may be that of a function. */
export const titleOf = (run) => [...new Set([run.key, run.name])].filter(Boolean).join(" · ") || text("run", run.id);

/** Seconds for which the run goes on or went on. */
export function lengthOf(run) {
  const end = run.finished ? new Date(run.finished) : new Date();
  return span((end - new Date(run.started)) / 1000, Boolean(run.finished));
}

export const startOf = (run) => moment(new Date(run.started));

export function outcomeOf(run) {
  const length = lengthOf(run);
  switch (run.status) {
    case "completed":
      return text(run.cancel_requested ? "cameTooLate" : "completedIn", length);
    case "cancelled":
      return text("cancelledAfter", length);
    case "failed":
      return text("failedAfter", length, run.error ?? "");
    default:
      return "";
  }
}
