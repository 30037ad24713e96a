// The run that is shown: its state, its log, its progress, its outcome.

import { ask, post, runPath } from "./api.js";
import { attempt, back, lost, release } from "./connection.js";
import { $, announce, copyText, setText, textOf } from "./dom.js";
import { RunFeed } from "./feed.js";
import { addError, addEvents, endLog, openLog, remark, showLine } from "./log.js";
import { clearResult, fetchResult, showResult } from "./result-view.js";
import { showRefusal } from "./refusals.js";
import { isActive, lengthOf, outcomeOf, startOf, statusOf, titleOf } from "./run-text.js";
import { advance, clearSteps, isProgress, showSteps } from "./steps.js";
import { selectTab } from "./tabs.js";
import { clock, named, text, wholeTime } from "./texts.js";

export class RunView {
  run = null; // as the server gave it last
  missing = null; // or the id of a run of which nothing is known yet, or that is not there
  #hint = "noRun";
  #isRefused = false;
  #gone = false;
  #feed = null;
  #lostAt = null;
  #traceback = null;

  /** `changed` is called when the list of runs is no longer true, `startAgain` to start a run once more. */
  constructor({ changed, startAgain }) {
    this.changed = changed;
    $("cancel").addEventListener("click", () => this.#cancel());
    $("again").addEventListener("click", () => startAgain(this.run));
    $("copy-link").addEventListener("click", () => this.#copyLink());
    $("open-result").addEventListener("click", () => {
      selectTab($("result-tab"));
      $("result-tab").focus();
    });
  }

  /** The name of the text that is shown as long as no run is chosen; null for none. */
  set hint(hint) {
    if (hint === this.#hint) return;
    this.#hint = hint;
    this.show();
  }

  /** Show a run, and a line of it, from what the server says. */
  async open(runId, line = null) {
    if (this.run?.id === runId) return line === null ? undefined : showLine(line);
    this.close();
    this.missing = runId;
    let record = null;
    // The lines need not wait for what is said about the run.
    openLog(runId, line);
    this.#feed = new RunFeed(runId, this.#listener());
    await attempt(
      async () => (record = await ask(runPath(runId))),
      (refusal) => refusal.isFinal && this.#miss(runId),
    );
    if (record && this.missing === runId) this.#begin(record);
  }

  #begin(run) {
    this.missing = null;
    this.run = run;
    this.#isRefused = false;
    this.#feed.follow();
    this.show();
    fetchResult(run);
    announce(`${titleOf(run)}, ${named("statuses", statusOf(run))}`);
  }

  close() {
    this.#feed?.close();
    release("stream");
    this.run = null;
    this.missing = null;
    this.#isRefused = false;
    this.#gone = false;
    this.#feed = null;
    this.#lostAt = null;
    this.#traceback = null;
    $("run-refusal").hidden = true;
    openLog(null);
    clearSteps();
    clearResult();
    selectTab($("log-tab"));
    this.show();
  }

  #miss(runId) {
    if (this.missing !== runId) return;
    this.#isRefused = true;
    this.show();
  }

  /** Take what the server now says of the run. */
  update(run) {
    if (this.missing === run.id) return this.#begin(run);
    const before = this.run;
    if (before?.id !== run.id) return undefined;
    if (this.#gone) this.#feed.follow(); // it is back, or another has its id
    this.#gone = false;
    this.run = run;
    this.show();
    fetchResult(run);
    if (statusOf(before) !== statusOf(run)) announce(isActive(run) ? named("statuses", statusOf(run)) : outcomeOf(run));
    return undefined;
  }

  /** Ask the server for the run that is shown. */
  async look() {
    const id = this.run?.id ?? this.missing;
    if (id === null) return;
    await attempt(async () => this.update(await ask(runPath(id))));
  }

  #listener() {
    return {
      events: (events) => {
        let isNews = null;
        for (const { data } of events) {
          if (isProgress(data)) isNews = advance(data) || isNews || false;
          if (typeof data.traceback === "string") this.#traceback = data.traceback;
          if (data.cancel_requested === true) this.#patch({ cancel_requested: true });
          if (data.status === "running") this.#patch({ status: "running", queue_position: null });
        }
        addEvents(events);
        if (isNews !== null) showSteps(this.#status, isNews);
        if (this.#traceback) this.#showTraceback();
      },
      gap: (gap) => remark("gap", () => text("gap", gap.missed, gap.from, gap.to)),
      complete: (data, place) => {
        release("stream");
        if (data.status === "failed" && data.error) addError(place, textOf(data.error));
        endLog();
        this.#patch({ status: data.status, error: data.error ?? null });
        this.look().then(this.changed);
      },
      anew: () => {
        const { runId } = this.#feed;
        openLog(runId);
        clearSteps();
        clearResult();
        this.#traceback = null;
        const now = new Date();
        remark("remark", () => text("restarted", clock(now)));
        this.look();
      },
      lost: () => {
        this.#lostAt ??= new Date();
        lost("stream");
      },
      back: () => {
        const [from, to] = [this.#lostAt, new Date()];
        if (from) remark("remark", () => text("lostAndBack", clock(from), clock(to)));
        this.#lostAt = null;
        back("stream");
      },
      vanish: () => {
        release("stream");
        if (!this.run) return this.#miss(this.missing);
        this.#gone = true;
        endLog();
        this.show();
        return announce(text("gone"));
      },
    };
  }

  /** The run's events are newer than what was said about it. */
  #patch(news) {
    if (!this.run || !isActive(this.run)) return;
    this.run = { ...this.run, ...news };
    if (!isActive(this.run)) {
      this.run.finished ??= new Date().toISOString();
      announce(outcomeOf(this.run));
    }
    this.show();
  }

  async #cancel() {
    const { run } = this;
    if (run.cancel_requested) return;
    $("run-refusal").hidden = true;
    const isShown = () => this.run?.id === run.id;
    await attempt(
      async () => {
        await post(runPath(run.id, "/cancel"));
        if (isShown()) this.#patch({ cancel_requested: true });
      },
      (refusal) => isShown() && showRefusal($("run-refusal"), refusal),
    );
    await this.changed();
  }

  async #copyLink() {
    if (!(await copyText(location.href))) return;
    $("copy-link").textContent = text("copied");
    announce(text("copied"));
    setTimeout(() => ($("copy-link").textContent = text("copyLink")), 2000);
  }

  // What is seen

  get #status() {
    return this.#gone ? "lost" : this.run ? statusOf(this.run) : "running";
  }

  show() {
    const { run } = this;
    $("chosen-run").hidden = !run;
    $("no-run").hidden = Boolean(run);
    const hint = this.missing || !this.#hint ? "" : text(this.#hint);
    setText($("no-run"), this.#isRefused ? text("noSuchRun", this.missing) : hint);
    if (!run) return;
    const status = this.#status;
    const isOpen = isActive(run) && !this.#gone;
    setText($("run-title"), titleOf(run));
    $("status").dataset.status = status;
    const isWaiting = status === "queued" && run.queue_position;
    setText($("status"), isWaiting ? text("queuedAt", run.queue_position) : named("statuses", status));
    $("run-id").hidden = !run.name && !run.key; // it is the title then
    setText($("run-id"), run.id);
    $("owner").hidden = !run.owner;
    setText($("owner"), run.owner ? text("owner", run.owner) : "");
    this.showTimes();
    if (!isOpen && document.activeElement === $("cancel")) $("run").focus();
    $("cancel").hidden = !isOpen;
    $("cancel").ariaDisabled = run.cancel_requested;
    setText($("cancel"), text(run.cancel_requested ? "cancelling" : "cancel"));
    $("again").hidden = isOpen || !("start" in document.documentElement.dataset);
    showSteps(status);
    $("outcome").hidden = isOpen;
    $("outcome").dataset.status = status;
    setText($("outcome-text"), this.#gone ? text("gone") : outcomeOf(run));
    this.#showTraceback();
    showResult(run);
  }

  #showTraceback() {
    const trace = this.run?.traceback ?? (this.run?.status === "failed" ? this.#traceback : null);
    $("traceback").hidden = !trace;
    setText($("traceback-text"), trace ?? "");
  }

  showTimes() {
    const { run } = this;
    if (!run) return;
    setText($("times"), text("startedAt", startOf(run), lengthOf(run)));
    $("times").title = wholeTime(new Date(run.started));
  }
}

