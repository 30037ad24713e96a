// The list of runs: a page at a time, filtered, the newest first.

import { addressOf, readAddress } from "./address.js";
import { ask } from "./api.js";
import { attempt } from "./connection.js";
import { $, element, setText } from "./dom.js";
import { showRefusal } from "./refusals.js";
import { lengthOf, startOf, statusOf, titleOf } from "./run-text.js";
import { named, text } from "./texts.js";

const PAGE = 50;
const SEARCH_AFTER = 250; // milliseconds after the last key

export class RunList {
  runs = [];
  isRefused = false; // whether the server shows its runs to somebody else only
  #next = null; // where the page after the last one that is shown begins
  #total = null;
  #pages = 1;
  #looks = 0;
  #timer = null;

  /** `looked` is called with the runs after each look at them, `refused` where the server does not show them. */
  constructor({ looked, refused, chosen }) {
    this.looked = looked;
    this.refused = refused;
    $("find-runs").addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#filter(), SEARCH_AFTER);
    });
    $("filter-status").addEventListener("change", () => this.#filter());
    $("more-runs").addEventListener("click", () => {
      this.#pages += 1;
      this.look();
    });
    $("runs").addEventListener("keydown", (event) => {
      const item = event.target.closest("li");
      const next = { ArrowDown: item?.nextElementSibling, ArrowUp: item?.previousElementSibling }[event.key];
      if (!next) return;
      event.preventDefault();
      next.firstChild.focus();
    });
    $("runs").addEventListener("click", (event) => {
      if (event.target.closest("a")) chosen();
    });
  }

  get isFiltered() {
    return $("find-runs").value.trim() !== "" || $("filter-status").value !== "";
  }

  #filter() {
    this.#pages = 1;
    $("runs").scrollTop = 0;
    this.look();
  }

  /** Ask for the pages that are shown. */
  async look() {
    const mine = ++this.#looks;
    await attempt(
      async () => {
        const runs = [];
        let page = { next: null };
        for (let count = 0; count < this.#pages && (count === 0 || page.next); count += 1) {
          page = await ask(`api/runs?${this.#query(page.next)}`);
          runs.push(...page.runs);
        }
        if (mine !== this.#looks) return; // another look began later
        this.isRefused = false;
        this.#take(runs, page.next, page.total);
        this.looked(runs);
      },
      (refusal) => {
        this.isRefused = refusal.isFinal;
        showRefusal($("no-runs"), refusal);
        if (this.isRefused) this.refused();
      },
    );
  }

  /** What people call the run of this id. */
  titleOf(id) {
    return titleOf(this.runs.find((run) => run.id === id) ?? { id });
  }

  #query(after) {
    const query = new URLSearchParams({ limit: PAGE });
    const [words, status] = [$("find-runs").value.trim(), $("filter-status").value];
    if (words) query.set("q", words);
    if (status) query.set("status", status);
    if (after) query.set("after", after);
    return query;
  }

  /** Show a run that was just started. */
  begin(run) {
    this.#looks += 1; // a look that is under way does not know it yet
    this.#take([run, ...this.runs.filter((each) => each.id !== run.id)], this.#next, this.#total && this.#total + 1);
    $("runs").scrollTop = 0;
  }

  #take(runs, next, total) {
    this.runs = runs;
    this.#next = next;
    this.#total = total;
    this.show();
  }

  show() {
    const known = new Map([...$("runs").children].map((item) => [item.dataset.key, item]));
    const items = this.runs.map((run) => {
      const item = known.get(run.id) ?? itemOf(run);
      fill(item, run);
      known.delete(run.id);
      return item;
    });
    for (const item of known.values()) item.remove();
    // Those that are there stay there, and with them the focus.
    for (const [place, item] of items.entries()) {
      if ($("runs").children[place] !== item) $("runs").insertBefore(item, $("runs").children[place] ?? null);
    }
    const count = this.#total ?? this.runs.length;
    setText($("run-count"), count ? text("runCount", count) + (this.#total === null && this.#next ? "+" : "") : "");
    if (!this.isRefused) {
      // A server that has passed over many runs which may not be read has not looked at all of them.
      $("no-runs").hidden = this.runs.length > 0 || Boolean(this.#next);
      setText($("no-runs"), text(this.isFiltered ? "noRunFound" : "noRuns"));
    }
    $("more-runs").hidden = !this.#next;
    this.mark();
  }

  /** Mark the run that is shown. */
  mark() {
    const shown = readAddress()?.runId;
    for (const item of $("runs").children) {
      if (item.dataset.key === shown) item.firstChild.ariaCurrent = "true";
      else item.firstChild.removeAttribute("aria-current");
    }
  }
}

function itemOf(run) {
  const link = element(
    "a",
    { href: addressOf(run.id) },
    element("span", { className: "name", dir: "auto" }),
    element("span", { className: "status" }),
    element("span", { className: "started" }),
    element("span", { className: "length" }),
    element("progress", { className: "share" }),
  );
  const item = element("li", {}, link);
  item.dataset.key = run.id;
  return item;
}

function fill(item, run) {
  const [name, status, started, length, share] = item.firstChild.children;
  const title = titleOf(run);
  setText(name, title);
  name.title = `${title}\n${run.id}`;
  status.dataset.status = statusOf(run);
  setText(status, named("statuses", statusOf(run)));
  setText(started, startOf(run));
  setText(length, lengthOf(run));
  const { current, total } = run.progress ?? {};
  share.hidden = run.status !== "running" || !total;
  if (total) Object.assign(share, { max: total, value: current, ariaLabel: text("amount", current, total) });
}
