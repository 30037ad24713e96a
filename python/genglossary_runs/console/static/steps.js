// How far a run is, step by step. It stays when the run has ended: how far did it come?

import { $, announce, element, setText, textOf, visible } from "./dom.js";
import { text } from "./texts.js";

const NEWS_EVERY = 15_000; // milliseconds between two announcements of progress
const MOST_STEPS = 200;

let steps = new Map(); // by name, in the order in which they began
let current = null;
let announcedAt = 0;

export function clearSteps() {
  steps = new Map();
  current = null;
}

/** Whether an event tells progress in numbers: applications may publish anything under these names. */
export const isProgress = (data) => Number.isFinite(data.progress_current);

/** Take an event of progress. Returns whether it is to be announced. */
export function advance(data) {
  const name = visible(textOf(data.step ?? ""));
  const isNew = name !== current?.name;
  steps.delete(name);
  current = { name, done: data.progress_current, total: Number.isFinite(data.progress_total) ? data.progress_total : null };
  steps.set(name, current);
  if (steps.size > MOST_STEPS) steps.delete(steps.keys().next().value);
  if (!isNew && Date.now() - announcedAt < NEWS_EVERY) return false;
  announcedAt = Date.now();
  return true;
}

/** Show the steps of a run with this status. */
export function showSteps(status, isNews = false) {
  const isActive = ["queued", "running", "stopping"].includes(status);
  $("progress").hidden = !current && !isActive;
  $("progress").dataset.status = status;
  setText($("step"), current ? current.name || text("noStep") : text(status === "queued" ? "inQueue" : "atWork"));
  setText($("amount"), current ? amountOf(current) : "");
  const { done, total } = current ?? { done: 0, total: null };
  $("bar").max = total || 1;
  if (total !== null) $("bar").value = total === 0 ? 1 : done;
  else if (isActive) $("bar").removeAttribute("value");
  else $("bar").value = status === "completed" ? 1 : 0;
  const earlier = [...steps.values()].slice(0, -1);
  $("earlier").hidden = earlier.length === 0;
  setText($("earlier-title"), text("earlierSteps", earlier.length));
  if ($("earlier").open) showEarlier(earlier);
  if (isNews) announce(`${$("step").textContent} ${$("amount").textContent}`);
}

const amountOf = ({ done, total }) => text("amount", done, total);

function showEarlier(earlier) {
  const rows = $("steps").children;
  while (rows.length > earlier.length) $("steps").lastChild.remove();
  for (const [place, step] of earlier.entries()) {
    if (place === rows.length) $("steps").append(element("li", {}, element("span"), element("span", { className: "amount" })));
    const [name, amount] = rows[place].children;
    setText(name, step.name || text("noStep"));
    setText(amount, amountOf(step));
  }
}

$("earlier").addEventListener("toggle", () => showEarlier([...steps.values()].slice(0, -1)));
