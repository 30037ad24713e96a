// The log of the run that is shown: its lines, their view, and the tools above it.

import { plain } from "./ansi.js";
import { addressOf } from "./address.js";
import { $, announce, copyText, setText, textOf } from "./dom.js";
import { LEVELS, Lines } from "./lines.js";
import { LogView } from "./log-view.js";
import { keep, kept } from "./settings.js";
import { clock, number, text } from "./texts.js";

const SEARCH_AFTER = 150; // milliseconds after the last key
// Parts of an event that the page shows otherwise; any other is a field of the message.
const SHOWN_OTHERWISE = new Set(
  "run_id time level message traceback group progress_current progress_total step status cancel_requested".split(" "),
);

const view = new LogView({ moved: showState, toggle: (group) => lines.toggle(group) });
const lines = new Lines({
  appended: (from) => view.append(from),
  changed: (dropped) => view.show(lines.shown, lines.words, dropped),
});

let runId = null;
let hasEnded = false;
let wantedLine = null;
let match = null; // the row that the search has found last
let timer = null;

/** Begin the log of a run; `line` is the number of one to show. */
export function openLog(id, line = null) {
  runId = id;
  view.runId = id;
  view.reset();
  hasEnded = false;
  match = null;
  wantedLine = line;
  $("log-missing").hidden = true;
  $("download").href = id === null ? "" : `api/runs/${encodeURIComponent(id)}/log.txt`;
  clearTimeout(timer);
  $("words").value = "";
  lines.search("");
  lines.clear();
}

/** Add events of the run that are lines: `[{number, data}]`. */
export function addEvents(events) {
  const added = [];
  for (const { number: place, data } of events) {
    if (data.group === "end") added.push({ group: "end" });
    else if ("message" in data) added.push(...linesOf(place, data));
  }
  if (added.length === 0) return;
  lines.add(added);
  if (wantedLine !== null) showLine(wantedLine);
}

/** Add the error of a failed run, unless the run has said it itself. */
export function addError(place, error) {
  const said = String(lines.last?.text ?? "");
  if (lines.last?.level === "error" && error.includes(said) && said) return;
  lines.add([{ number: place, time: new Date().toISOString(), level: "error", text: error }]);
}

/** Add a remark of the page, in whichever language it has. */
export function remark(kind, say) {
  lines.add([{ number: null, time: new Date().toISOString(), level: null, kind, say }]);
}

/** Say that no more lines will come. */
export function endLog() {
  hasEnded = true;
  if (wantedLine !== null) {
    // Not there by now: the server holds it no longer, or it is no line.
    $("log-missing").textContent = text("noSuchLine");
    $("log-missing").hidden = false;
    wantedLine = null;
  }
  showState();
}

/** Bring the line of this number into view, now or when it arrives. */
export function showLine(place) {
  const row = lines.find(place);
  wantedLine = row ? null : place;
  $("log-missing").hidden = true;
  if (row) reveal(row);
  else if (hasEnded) endLog();
}

/** Say it all again, in another language. */
export function speakLog() {
  view.redraw();
  showState();
}

function linesOf(place, data) {
  const level = LEVELS.includes(data.level) ? data.level : "info";
  const time = Number.isNaN(Date.parse(data.time)) ? null : data.time;
  const line = { number: place, time, level, text: textOf(data.message) + fieldsOf(data), group: data.group };
  if (typeof data.traceback !== "string") return [line];
  return [{ ...line, text: `${line.text}\n${data.traceback.trimEnd()}` }];
}

/** The fields of a message, dimmed, after it. */
function fieldsOf(data) {
  const fields = Object.entries(data).filter(([name]) => !SHOWN_OTHERWISE.has(name));
  if (fields.length === 0) return "";
  return ` \x1b[0;2m${fields.map(([name, value]) => `${name}=${fieldText(value)}`).join(" ")}\x1b[0m`;
}

const fieldText = (value) => (typeof value === "string" && /^[^\s"]+$/.test(value) ? value : JSON.stringify(value));

// What is seen

/** Say how the log is; called with each drawing of it. */
function showState() {
  const { all, warning, error } = lines.counts;
  setText($("lines"), all ? number(all) : "");
  setText($("problems"), warning + error ? number(warning + error) : "");
  setText($("errors"), error ? number(error) : "");
  const some = lines.passing === all ? text("allLines", all) : text("someLines", lines.passing, all);
  const folded = lines.folded ? text("folded", lines.folded) : "";
  setText($("shown"), (all ? some : "") + folded + (lines.evicted ? text("older", lines.evicted) : ""));
  $("nothing").hidden = lines.shown.length > 0;
  setText($("nothing"), text(all ? "noMatch" : hasEnded ? "noLinesKept" : "noLines"));
  $("first-error").hidden = !lines.firstError;
  $("newest").hidden = view.atEnd;
  setText($("newest"), text("newLines", view.unseen));
  showMatches();
}

function showMatches() {
  const isSearching = lines.words !== "";
  $("matches").hidden = !isSearching;
  setText($("matches"), isSearching ? text("matches", lines.matches.indexOf(match) + 1, lines.matches.length) : "");
  for (const button of [$("previous"), $("next")]) button.ariaDisabled = lines.matches.length === 0;
}

// Going to a line

/** Show a row in the middle of the view; its address becomes that of the page. */
function reveal(row) {
  let place = lines.reveal(row);
  if (place < 0) {
    // Filtered out: the line that somebody asks for goes before the filter.
    $("levels").querySelector("[value=all]").checked = true;
    $("only").ariaPressed = false;
    lines.search(lines.words, false);
    lines.setLevel("all");
    place = lines.reveal(row);
  }
  view.goTo(place);
  if (row.number !== null) history.replaceState(null, "", addressOf(runId, row.number));
}

/** Go to the next match, or the previous one, round and round; the first one is the next below the top of the view. */
function goToMatch(by) {
  const { matches } = lines;
  if (matches.length === 0) return;
  const place = matches.indexOf(match);
  const next = place < 0 ? (by > 0 ? 0 : matches.length - 1) : (place + by + matches.length) % matches.length;
  match = matches[next];
  reveal(match);
  showMatches();
  announce(`${text("matches", next + 1, matches.length)}: ${plain(match.text ?? "")}`);
}

function search() {
  clearTimeout(timer);
  timer = null;
  match = null;
  lines.search($("words").value.trim(), $("only").ariaPressed === "true");
  if (lines.isFiltered) announce($("shown").textContent);
}

$("words").addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(search, SEARCH_AFTER);
});
$("words").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  if (timer) search();
  goToMatch(event.shiftKey ? -1 : 1);
});
$("previous").addEventListener("click", () => goToMatch(-1));
$("next").addEventListener("click", () => goToMatch(1));
$("only").addEventListener("click", () => {
  $("only").ariaPressed = $("only").ariaPressed !== "true";
  search();
});
$("levels").addEventListener("change", (event) => {
  lines.setLevel(event.target.value);
  announce($("shown").textContent);
});
$("first-error").addEventListener("click", () => reveal(lines.firstError));
$("newest").addEventListener("click", () => {
  view.goToEnd();
  $("log").focus();
});

// How lines are shown

/** A check box whose state is kept; a narrow window has no room for times, and no use for long lines. */
function option(id, byDefault, apply) {
  const box = $(id);
  const chosen = kept(id);
  box.checked = chosen === null ? byDefault : chosen === "true";
  box.addEventListener("change", () => {
    keep(id, box.checked);
    apply(box.checked);
  });
  apply(box.checked);
}

const isNarrow = matchMedia("(max-width: 48rem)").matches;
$("options").open = !matchMedia("(max-width: 30rem)").matches;
option("timestamps", !isNarrow, (shown) => {
  $("log").dataset.times = shown;
  view.setWrap($("wrap").checked);
});
option("wrap", true, (wraps) => view.setWrap(wraps));

$("copy-log").addEventListener("click", async () => {
  const times = $("timestamps").checked;
  const prefix = (row) => (times && row.time ? `${clock(new Date(row.time))} ` : "");
  if (await copyText(lines.textOfShown(prefix))) announce(text("copied"));
});
