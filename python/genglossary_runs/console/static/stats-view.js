// What the manager, its store and the streams of the process that answers hold.

import { ask } from "./api.js";
import { Chart } from "./chart.js";
import { attempt } from "./connection.js";
import { $, element, setText } from "./dom.js";
import { named, number, size, text } from "./texts.js";

const SECTIONS = ["manager", "store", "streams"];

const eventChart = new Chart("event");
const readerChart = new Chart("reader");
// Each process counts its own events, and another one may answer each time.
const published = new Map(); // by process: how many it had, and when it said so
let stats = null;

export async function lookInside() {
  await attempt(async () => {
    const found = await ask("api/stats");
    const now = performance.now();
    const before = published.get(found.process);
    const count = found.manager.events_published;
    if (before) eventChart.push(Math.round((Math.max(0, count - before.count) * 1000) / (now - before.at)));
    published.set(found.process, { count, at: now });
    readerChart.push(found.manager.subscribers);
    stats = found;
    showStats();
  });
}

export function showStats() {
  eventChart.show();
  readerChart.show();
  if (!stats) return;
  for (const name of SECTIONS) {
    const values = Object.entries(stats[name] ?? {}).filter(isShown);
    let section = $("stats").querySelector(`[data-section="${name}"]`);
    if (!section && values.length > 0) {
      section = element("section", {}, element("h3"), element("dl", { className: "stats" }));
      section.dataset.section = name;
      $("stats").append(section);
    }
    if (!section) continue;
    section.hidden = values.length === 0;
    setText(section.firstChild, named("sections", name));
    for (const [each, value] of values) showValue(section.lastChild, each, value);
  }
}

/** Whether it is one value, and not the number of readers, which has a chart. */
const isShown = ([name, value]) => name !== "subscribers" && value !== null && typeof value !== "object";

function showValue(list, name, value) {
  let row = list.querySelector(`[data-name="${name}"]`);
  if (!row) {
    row = element("div", {}, element("dt"), element("dd"));
    row.dataset.name = name;
    list.append(row);
  }
  const [label, shown] = row.children;
  const words = valueText(name, value);
  setText(label, named("stats", name).replaceAll("_", " "));
  if (shown.textContent && shown.textContent !== words) flash(row);
  setText(shown, words);
}

function valueText(name, value) {
  if (typeof value === "boolean") return text(value ? "yes" : "no");
  if (typeof value !== "number") return String(value);
  return /(^|_)bytes(_|$)/.test(name) ? size(value) : number(value);
}

function flash(row) {
  row.classList.add("changed");
  // Fades out by the style sheet, once the browser has seen it.
  requestAnimationFrame(() => requestAnimationFrame(() => row.classList.remove("changed")));
}
