// The result of a run: text, a link, or JSON as lists and tables.

import { ask, runPath } from "./api.js";
import { attempt } from "./connection.js";
import { $, element, setText, visible } from "./dom.js";
import { refusalText } from "./refusals.js";
import { isActive } from "./run-text.js";
import { language, number, text } from "./texts.js";

const LOADED_WITHIN = 600_000; // milliseconds: it may be large, and the connection slow
const MOST_ITEMS = 200; // shown at once
const DEEPEST_TABLE = 2;

let shown = null; // { runId, kind, value }
let refusal = null;
let loading = null; // aborts the request that is under way
let onPage = null; // what of `shown` is there already, and in which language

export function clearResult() {
  shown = null;
  refusal = null;
  loading?.abort();
  loading = null;
  showResult(null);
}

/** Fetch the result of a run that is completed, until it is there or refused. */
export async function fetchResult(run) {
  const { id: runId, result_kind: kind } = run;
  if (run.status !== "completed" || !kind || shown || refusal || loading) return;
  const mine = (loading = new AbortController());
  const signal = AbortSignal.any([mine.signal, AbortSignal.timeout(LOADED_WITHIN)]);
  const read = kind === "text" ? String : kind === "json" ? JSON.parse : () => null;
  showResult(run);
  try {
    await attempt(
      async () => {
        const value = kind === "link" ? null : await ask(runPath(runId, "/result"), { read, signal });
        if (loading === mine) shown = { runId, kind, value };
      },
      (error) => {
        if (loading === mine && error.isFinal) refusal = error;
      },
    );
  } catch (error) {
    if (!mine.signal.aborted) throw error;
  }
  if (loading !== mine) return;
  loading = null;
  showResult(run);
}

/** Show what there is of a run's result. */
export function showResult(run) {
  $("no-result").hidden = Boolean(shown);
  setText($("no-result"), wordsWithout(run));
  $("result-tools").hidden = !shown;
  $("open-result").hidden = !shown;
  // What stays the same is left alone: somebody may have unfolded or selected a part of it.
  if (onPage && onPage.shown === shown && onPage.language === language) return;
  onPage = { shown, language };
  $("result").replaceChildren(...(shown ? [resultElement(shown)] : []));
}

/** What is said where no result is shown. */
function wordsWithout(run) {
  if (refusal) return refusalText(refusal);
  if (loading) return text("loadingResult");
  return text(run && isActive(run) ? "noResultYet" : "noResult");
}

function resultElement({ runId, kind, value }) {
  const href = runPath(runId, "/result");
  $("save-result").hidden = kind === "link";
  $("save-result").href = href;
  $("save-result").download = `${runId}.${kind === "text" ? "txt" : "json"}`;
  if (kind === "link") return element("a", { href, target: "_blank", rel: "noreferrer" }, text("openResult"));
  return kind === "text" ? element("pre", { dir: "auto" }, visible(value)) : valueElement(value);
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function scalarElement(value) {
  if (typeof value === "boolean") return element("span", {}, text(value ? "yes" : "no"));
  if (typeof value === "number") return element("span", { className: "figure" }, number(value, 20));
  return element("span", { dir: "auto" }, ...(value === null ? ["–"] : breakable(visible(String(value)))));
}

/** The text with places at which a long path or name may be broken, so that a table of them is not too wide to be seen. */
function breakable(words) {
  if (!/\S{16}/.test(words)) return [words];
  return words.split(/(?<=[/_.:-])(?=\w)/).flatMap((part, place) => (place ? [element("wbr"), part] : [part]));
}

function valueElement(value, depth = 0) {
  if (Array.isArray(value)) return listElement(value, depth);
  if (isObject(value)) return objectElement(value, depth);
  return scalarElement(value);
}

function objectElement(value, depth) {
  const entries = Object.entries(value);
  if (entries.length === 0) return element("span", { className: "empty" }, text("nothingIn"));
  const list = element("dl", { className: "fields" });
  const add = ([name, each]) => {
    const isWide = each !== null && typeof each === "object";
    list.append(element("div", { className: isWide ? "wide" : "" }, element("dt", { dir: "auto" }, visible(name)), element("dd", {}, folded(each, depth))));
  };
  return inParts(list, entries, add);
}

function listElement(values, depth) {
  if (values.length === 0) return element("span", { className: "empty" }, text("nothingIn"));
  const columns = columnsOf(values);
  if (columns && depth < DEEPEST_TABLE) return tableElement(values, columns);
  const list = element("ol", { className: "items" });
  return inParts(list, values, (value) => list.append(element("li", {}, folded(value, depth))));
}

/** What is deep inside is folded. */
function folded(value, depth) {
  if (value === null || typeof value !== "object" || depth < DEEPEST_TABLE) return valueElement(value, depth + 1);
  const size = Object.keys(value).length;
  const details = element("details", {}, element("summary", {}, text("items", size)));
  details.addEventListener("toggle", () => details.append(valueElement(value, depth + 1)), { once: true });
  return details;
}

/** The names that all of these objects have in common, if they are alike and flat enough for a table. */
function columnsOf(values) {
  if (!values.every(isObject)) return null;
  const names = [...new Set(values.slice(0, MOST_ITEMS).flatMap(Object.keys))];
  const isFlat = values.every((value) => Object.values(value).every((each) => each === null || typeof each !== "object"));
  return isFlat && names.length > 0 && names.length <= 8 ? names : null;
}

function tableElement(values, columns) {
  const body = element("tbody");
  const head = element("tr", {}, ...columns.map((name) => element("th", { scope: "col", dir: "auto" }, visible(name))));
  const add = (value) => {
    const cells = columns.map((name) => {
      const cell = element("td", {}, Object.hasOwn(value, name) ? scalarElement(value[name]) : "");
      cell.dataset.column = visible(name); // shown beside the value where there is no room for columns
      return cell;
    });
    body.append(element("tr", {}, ...cells));
  };
  return inParts(element("table", {}, element("thead", {}, head), body), values, add);
}

/** The element, filled with the first of the values, and a button for more. */
function inParts(filled, values, add) {
  const place = element("div", { className: "parts" }, filled);
  let done = 0;
  const more = element("button", { type: "button" });
  const fill = () => {
    for (const value of values.slice(done, done + MOST_ITEMS)) add(value);
    done += MOST_ITEMS;
    more.textContent = text("moreItems", values.length - done);
    if (done >= values.length) more.remove();
    else place.append(more);
  };
  more.addEventListener("click", fill);
  fill();
  return place;
}
