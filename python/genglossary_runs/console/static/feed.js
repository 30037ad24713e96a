// The events of one run, each once, from the start to the end: what the server holds of it page by page, then live.
//
// An id is `<fence>-<seq>`: `seq` counts 1, 2, 3 …, and another `fence` means another life of the run id, as after a
// restart of the server. A hidden tab gives its connection back, and resumes where it was.

import { ask, NoAnswer, Refused, runPath } from "./api.js";
import { sleep } from "./dom.js";
import { readLive } from "./shared-stream.js";

const FIRST_PAGE = 500; // events: the first lines are to be there at once
const PAGE = 5000;
const AGAIN_AFTER = 2000; // milliseconds
const HIDDEN_FOR = 1000;

/**
 * Follows a run until it ends or `close` is called.
 *
 * The listener has `events([{number, data}])`; `gap({from, to, missed})`; `complete(data, number)`; `anew()` before the
 * events of another life; `lost()` and `back()`; and `vanish()` when the server has no such run, or does not show it.
 */
export class RunFeed {
  #closing = new AbortController();
  #cursor = "0";
  #fence = "";
  #seq = 0;
  #gap = null; // events that are missing after the last one that was taken
  #ended = false;
  #isFollowing = false;

  constructor(runId, listener) {
    this.runId = runId;
    this.listener = listener;
    this.follow();
  }

  /** Follow the run, from where it was, unless that is done already. */
  async follow() {
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    try {
      await this.#follow();
    } finally {
      this.#isFollowing = false;
    }
  }

  close() {
    this.#closing.abort();
  }

  get #isOver() {
    return this.#ended || this.#closing.signal.aborted;
  }

  async #follow() {
    while (!this.#isOver) {
      await seen(this.#closing.signal);
      try {
        await this.#catchUp();
        if (this.#isOver) return;
        if (await this.#readLive()) throw new NoAnswer("The stream broke");
      } catch (error) {
        if (this.#isOver) return;
        if (error.isFinal) return this.listener.vanish();
        if (error instanceof NoAnswer || error instanceof Refused) this.listener.lost();
        else console.error(error); // of the listener, which was given these events and may take the next
        // Not all at once, where many come back to a server that was restarted.
        await sleep(AGAIN_AFTER * (0.5 + Math.random()));
      }
    }
  }

  /** Take what the server holds after the last event that was taken. */
  async #catchUp() {
    for (let limit = FIRST_PAGE; !this.#isOver; limit = PAGE) {
      const query = new URLSearchParams({ after: this.#cursor, limit });
      const page = await ask(runPath(this.runId, `/log?${query}`), { read: JSON.parse });
      if (this.#closing.signal.aborted) return;
      this.listener.back();
      const gaps = page.gaps.map((gap) => ({ id: "", name: "gap", data: { gap } }));
      this.#take(merged(gaps, page.events));
      if (!this.#isOver && !this.#has(page.next)) this.#cursor = page.next;
      if (!page.more) return;
    }
  }

  async #readLive() {
    const stop = new AbortController();
    const forget = whenHidden(() => stop.abort());
    this.#closing.signal.addEventListener("abort", () => stop.abort(), { once: true });
    try {
      return await readLive(this.runId, {
        signal: stop.signal,
        cursor: () => this.#cursor,
        opened: () => this.listener.back(),
        ask: async () => {
          await this.#catchUp();
          if (this.#ended) stop.abort();
        },
        take: (after, events) => {
          if (!this.#has(after)) return false;
          this.#take(events);
          if (this.#ended) stop.abort();
          return true;
        },
      });
    } finally {
      forget();
    }
  }

  /** Whether everything up to the event of this id was taken. */
  #has(id) {
    const [fence, seq] = id.split("-");
    const [takenFence, takenSeq] = this.#cursor.split("-");
    return id === this.#cursor || (fence === takenFence && Number(seq) <= Number(takenSeq));
  }

  #take(events) {
    let taken = [];
    const pass = () => {
      if (taken.length > 0) this.listener.events(taken);
      taken = [];
    };
    for (const { id, name, data } of events) {
      if (this.#isOver) return;
      if (name === "gap") {
        this.#gap = data.gap; // the next event tells of which life it is
        continue;
      }
      const [fence, seq] = id.split("-");
      if (name === "complete") {
        // That of a run whose process died has a fence of its own, and is the end of this life all the same.
        pass();
        this.#tellGap();
        this.#ended = true;
        this.#cursor = id;
        this.listener.complete(data, fence === this.#fence || !this.#fence ? Number(seq) : null);
        return;
      }
      if (fence !== this.#fence) {
        pass();
        if (this.#fence) this.listener.anew();
        this.#fence = fence;
        this.#seq = 0;
      } else if (Number(seq) <= this.#seq) {
        continue;
      }
      if (this.#gap) {
        pass();
        this.#tellGap();
      }
      this.#seq = Number(seq);
      this.#cursor = id;
      taken.push({ number: this.#seq, data });
    }
    pass();
  }

  #tellGap() {
    if (this.#gap && this.#gap.to > this.#seq) this.listener.gap(this.#gap);
    this.#gap = null;
  }
}

/** Gaps in their places among events. */
function merged(gaps, events) {
  if (gaps.length === 0) return events;
  const seqOf = ({ id, name, data }) => {
    if (name === "gap") return data.gap.to;
    return name === "complete" ? Infinity : Number(id.split("-")[1]); // what tells of a dead process has another fence
  };
  return [...gaps, ...events].sort((one, other) => seqOf(one) - seqOf(other));
}

/** Resolves once the page is seen, or `signal` aborts. */
function seen(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look, { once: true });
    look();
  });
}

/** Call `act` once the page was hidden for a while. Returns what takes it back. */
function whenHidden(act) {
  let timer = null;
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(act, HIDDEN_FOR);
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", look);
  };
}
