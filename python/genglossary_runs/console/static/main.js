// The page: puts its parts together, and asks the server again and again while somebody looks.

import { addressOf, readAddress } from "./address.js";
import { showConnection } from "./connection.js";
import { $, element, sleep } from "./dom.js";
import { speakLog } from "./log.js";
import { speakRefusals } from "./refusals.js";
import { RunList } from "./run-list.js";
import { isActive } from "./run-text.js";
import { RunView } from "./run-view.js";
import { keep } from "./settings.js";
import { canStart, start } from "./start.js";
import { lookInside, showStats } from "./stats-view.js";
import { language, languageNames, loadTexts, preferredLanguage, setLanguage } from "./texts.js";

const POLL_STATS = 1000; // milliseconds
const POLL_RUNS = 2000;
const POLL_REFUSED = 30_000; // who may not see the runs is not let in a moment later

const list = new RunList({ looked: takeRuns, refused: () => (view.hint = null), chosen: bringRunIntoView });
const view = new RunView({ changed: () => list.look(), startAgain: begin });

function takeRuns(runs) {
  view.hint = runs.length === 0 && !list.isFiltered ? "noRunYet" : "noRun";
  if (!readAddress() && runs.length > 0) {
    history.replaceState(null, "", addressOf(runs[0].id));
    showAddress();
  }
  const shown = runs.find((run) => run.id === (view.run?.id ?? view.missing));
  if (shown) view.update(shown);
  else if ((view.run && isActive(view.run)) || view.missing !== null) view.look();
}

function showAddress() {
  const address = readAddress();
  if (address) view.open(address.runId, address.line);
  else view.close();
  list.mark();
}

async function begin(again = null) {
  const run = await start(again, (id) => list.titleOf(id));
  if (!run) return;
  location.hash = addressOf(run.id);
  list.begin(run);
  bringRunIntoView();
}

/** In a narrow window the runs are below the one that is shown. */
function bringRunIntoView() {
  $("run").scrollIntoView();
}

function speak(wanted) {
  setLanguage(wanted);
  for (const button of $("languages").children) button.ariaPressed = button.dataset.language === language;
  showConnection();
  speakLog();
  view.show();
  speakRefusals();
  list.show(); // whose own words may have taken the place of a refusal
  showStats();
}

function addLanguages() {
  const buttons = languageNames().map(([code, name]) => {
    const button = element("button", { type: "button", className: "quiet", lang: code }, name);
    button.dataset.language = code;
    button.addEventListener("click", () => {
      keep("language", code);
      speak(code);
    });
    return button;
  });
  $("languages").append(...buttons);
}

async function repeat(work, every) {
  for (;;) {
    try {
      if (!document.hidden) await work();
    } catch (error) {
      console.error(error); // the next time may go well
    }
    await sleep(list.isRefused ? POLL_REFUSED : every);
  }
}

await loadTexts();
addLanguages();
speak(preferredLanguage());
$("new-run").hidden = !canStart();
$("start").addEventListener("submit", (event) => {
  event.preventDefault();
  begin();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  // The address keeps saying which run is shown.
  event.preventDefault();
  $("run").focus();
});
$("to-runs").addEventListener("click", () => document.querySelector(".rail").scrollIntoView());
addEventListener("hashchange", showAddress);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) list.look();
});
showAddress();
repeat(lookInside, POLL_STATS);
repeat(() => list.look(), POLL_RUNS);
setInterval(() => {
  if (view.run && isActive(view.run)) view.showTimes();
}, 1000);
