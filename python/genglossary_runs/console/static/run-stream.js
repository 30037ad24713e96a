// Follow the events of a run from a browser, or from Node 20 and later. One file without dependencies.
//
//     const stream = new RunStream(`api/runs/${encodeURIComponent(id)}/events`, {
//       onEvent: ({ data }) => show(data), // a log message, progress or a status
//       onGap: ({ missed }) => note(`${missed} messages are missing`),
//       onLife: () => clear(), // the run id was started anew: what was shown is of an earlier run
//       onEnd: (outcome) => finish(outcome), // status, error; null if everything had been received before
//       onGone: ({ status }) => say(`There is no such run (${status})`),
//     });
//
// It resumes after the last event it has, however the connection was lost. Only `complete`, or an answer that says that
// there is no more, is an end: a proxy's 502 or 503 is not, nor is a stream that stops. With `headers` it uses fetch,
// else the browser's EventSource.

const MORE_NAMES = ["gap", "complete", "stalled"];
const CLOSED = 2; // EventSource.CLOSED, which Node does not have
const LATER = new Set([408, 425, 429]);
const DEFAULTS = { names: [], minDelay: 1000, maxDelay: 30_000, silence: 45_000, lastEventId: "" };

export class RunStream {
  #url;
  #options;
  #native;
  #connection = null; // what is open, or being opened: with `close()`; null while there is none
  #timer;
  #failures = 0;
  #delay;
  #fence = "";

  /** The id of the last event that was received; another stream resumes after it with the option `lastEventId`. */
  lastEventId;
  /** connecting, open, retrying, paused, ended (complete was received), gone (no such run, or refused) or closed. */
  state = "connecting";

  constructor(url, options = {}) {
    this.#url = new URL(url, globalThis.document?.baseURI);
    this.#options = { ...DEFAULTS, ...options };
    this.#delay = this.#options.minDelay;
    this.lastEventId = this.#options.lastEventId;
    this.#fence = fenceOf(this.lastEventId);
    this.#native = !options.headers && !options.fetch && options.transport !== "fetch" && "EventSource" in globalThis;
    this.#connect();
  }

  /** Stop for good. */
  close() {
    if (!this.#isOver()) this.#stop("closed");
  }

  /** Give the connection back, for a page that nobody sees: a browser has six to a host over HTTP/1.1. */
  pause() {
    if (!this.#isOver()) this.#stop("paused");
  }

  /** Go on after `pause`, where it was; a stream that waits to try again does so now. */
  resume() {
    if (this.state === "paused" || this.state === "retrying") {
      this.#stop("connecting");
      this.#connect();
    }
  }

  #isOver() {
    return this.state === "ended" || this.state === "gone" || this.state === "closed";
  }

  #connect() {
    this.#set("connecting");
    if (this.#native) this.#listen();
    else this.#read();
  }

  // The browser's EventSource. It reconnects by itself when a connection is lost, and closes at any answer but 200, of
  // which it does not tell the status.
  #listen() {
    const url = new URL(this.#url);
    if (this.lastEventId) url.searchParams.set("last_event_id", this.lastEventId);
    const source = new EventSource(url, { withCredentials: this.#options.withCredentials ?? false });
    this.#connection = source;
    const take = (name) => (event) => {
      if (this.#connection === source) this.#take(event.lastEventId, name, event.data);
    };
    source.onopen = () => this.#connection === source && this.#opened();
    source.onmessage = take(null);
    for (const name of new Set([...MORE_NAMES, ...this.#options.names])) source.addEventListener(name, take(name));
    source.onerror = () => {
      if (this.#connection !== source) return;
      if (source.readyState !== CLOSED) this.#set("retrying", { reason: "the connection was lost" });
      else this.#ask();
    };
  }

  // Learn why an EventSource was refused.
  async #ask() {
    const attempt = this.#begin();
    try {
      const response = await this.#fetch(attempt.signal);
      response.body?.cancel().catch(() => {});
      if (this.#connection !== attempt) return;
      if (verdictOn(response) === "open") this.#connect();
      else this.#refused(response);
    } catch (error) {
      if (this.#connection === attempt) this.#retry(String(error));
    } finally {
      attempt.close();
    }
  }

  // fetch, which takes headers, tells the status, and notices a connection that is silent for too long.
  async #read() {
    const attempt = this.#begin();
    let reason = "the stream stopped";
    try {
      const response = await this.#fetch(attempt.signal);
      if (this.#connection !== attempt) return;
      if (verdictOn(response) !== "open") {
        response.body?.cancel().catch(() => {});
        this.#refused(response);
        return;
      }
      this.#opened();
      const parser = new EventParser((milliseconds) => (this.#delay = milliseconds));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        attempt.heard();
        const { value, done } = await reader.read();
        if (done || this.#connection !== attempt) break;
        for (const { id, name, data } of parser.feed(value)) {
          this.#take(id ?? this.lastEventId, name, data);
          if (this.#connection !== attempt) return;
        }
      }
    } catch (error) {
      reason = String(error);
    } finally {
      attempt.close();
    }
    if (this.#connection === attempt) this.#retry(reason);
  }

  #begin() {
    const controller = new AbortController();
    let silence;
    const attempt = {
      signal: controller.signal,
      heard: () => {
        clearTimeout(silence);
        silence = setTimeout(() => controller.abort(new Error("nothing was heard for too long")), this.#options.silence);
      },
      close: () => {
        clearTimeout(silence);
        controller.abort();
      },
    };
    attempt.heard();
    this.#connection = attempt;
    return attempt;
  }

  async #fetch(signal) {
    const { headers, withCredentials, fetch = globalThis.fetch } = this.#options;
    const all = new Headers(typeof headers === "function" ? await headers() : headers);
    all.set("Accept", "text/event-stream");
    if (this.lastEventId) all.set("Last-Event-ID", this.lastEventId);
    const credentials = withCredentials ? "include" : "same-origin";
    return fetch(this.#url, { headers: all, signal, credentials, cache: "no-store" });
  }

  #opened() {
    this.#failures = 0;
    this.#set("open");
  }

  #take(id, name, text) {
    this.#failures = 0;
    const data = parse(text);
    if (name === "gap") return this.#tell("onGap", data.gap, data);
    // What has no id, as `stalled`, is no event of the run.
    if (name !== "complete" && id && id !== this.lastEventId) {
      // The terminal event of a run whose process died has a fence of its own; any other new fence is another run.
      const fence = fenceOf(id);
      if (this.#fence && fence !== this.#fence) this.#tell("onLife", { from: this.#fence, to: fence });
      this.#fence = fence;
    }
    this.lastEventId = id || this.lastEventId;
    if (name !== "complete") return this.#tell("onEvent", { id, name, data });
    this.#stop("ended");
    this.#tell("onEnd", data);
  }

  #refused(response) {
    switch (verdictOn(response)) {
      case "ended":
        this.#stop("ended");
        return this.#tell("onEnd", null);
      case "gone":
        this.#stop("gone", { status: response.status });
        return this.#tell("onGone", { status: response.status });
      default: {
        const seconds = Number(response.headers.get("Retry-After"));
        const { status } = response;
        return this.#retry(`the answer was ${status}`, { atLeast: seconds > 0 ? seconds * 1000 : 0, status });
      }
    }
  }

  #retry(reason, { atLeast = 0, status } = {}) {
    const { maxDelay } = this.#options;
    const longest = Math.min(maxDelay, this.#delay * 2 ** this.#failures++);
    // Spread, so that clients which lost a server at once do not come back at once.
    const delay = Math.max(longest * (0.5 + Math.random() / 2), Math.min(atLeast, maxDelay));
    this.#stop("retrying", { reason, delay, status });
    // Who is told of it may have closed the stream, or resumed it already.
    if (this.state === "retrying") this.#timer = setTimeout(() => this.#connect(), delay);
  }

  #stop(state, detail) {
    clearTimeout(this.#timer);
    const connection = this.#connection;
    this.#connection = null;
    connection?.close();
    this.#set(state, detail);
  }

  #set(state, detail = {}) {
    if (state !== this.state || state === "retrying") {
      this.state = state;
      this.#tell("onState", state, detail);
    }
  }

  #tell(name, ...values) {
    try {
      this.#options[name]?.(...values);
    } catch (error) {
      // A page's own mistake is no lost connection.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

/** Takes server-sent events apart, in whatever pieces they come. */
export class EventParser {
  #rest = "";
  #id;
  #name = null;
  #data = [];
  #onRetry;

  constructor(onRetry = () => {}) {
    this.#onRetry = onRetry;
  }

  /** The events that are complete with this piece of the stream: `id` (undefined for none), `name` and `data`. */
  *feed(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) yield { id: this.#id, name: this.#name, data: this.#data.join("\n") };
        this.#id = undefined;
        this.#name = null;
        this.#data = [];
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
      if (field === "data") this.#data.push(value);
      else if (field === "event") this.#name = value || null;
      else if (field === "id" && !value.includes("\0")) this.#id = value;
      else if (field === "retry" && /^\d+$/.test(value)) this.#onRetry(Number(value));
    }
  }
}

function verdictOn({ status, headers }) {
  if (status === 204) return "ended";
  // A login page or a proxy's excuse may come as 200.
  if (status === 200) return headers.get("Content-Type")?.startsWith("text/event-stream") ? "open" : "later";
  return status >= 500 || status < 400 || LATER.has(status) ? "later" : "gone";
}

function fenceOf(id) {
  return id.slice(0, Math.max(0, id.lastIndexOf("-")));
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
