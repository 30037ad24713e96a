// The live events of a run. The tabs of one browser share one stream of it: over HTTP/1.1 a browser has six connections
// to a server, for all tabs together, and a stream keeps one.
//
// A tab that holds the run's lock reads the stream and passes its events on; the others listen. Where all places for
// streams are taken by other runs, or the server refuses one more, the tab asks for new events again and again instead.
// Browsers have locks on https and loopback only; without them nothing is shared: each tab reads a stream of its own, and
// gives it back while it is hidden.

import { runPath } from "./api.js";
import { sleep } from "./dom.js";
import { RunStream } from "./run-stream.js";

const PLACES = 3; // streams of one browser; the other connections are for requests
const ASK_EVERY = 1000; // milliseconds
const ASKS = 15; // then a stream is tried again
const GATHER = 20; // milliseconds in which events are passed on together

const [ENDED, BROKE, REFUSED] = ["ended", "broke", "refused"];

const here = new URL("api/", document.baseURI).href;
const channel = navigator.locks ? new BroadcastChannel(here) : null;

/**
 * Read the live events of a run until `signal` aborts or something breaks.
 *
 * `cursor()` gives the id of the last event that was taken; `take(after, events)` takes events that follow the one of the
 * id `after`, each with `id`, `name` and `data`, and returns whether that one was taken; `opened()` is called when the
 * stream is there; `ask()` asks for new events once.
 *
 * Resolves when the caller should catch up and begin again; to true if the stream broke.
 */
export async function readLive(runId, { cursor, take, opened, ask, signal }) {
  if (!channel) return streamOrAsk(runId, { cursor, take, opened, ask, signal });
  const stop = new AbortController();
  signal.addEventListener("abort", () => stop.abort(), { once: true });
  const waiting = []; // what came while new events were asked for
  let failure = null;
  const takeAll = async () => {
    for (; waiting.length > 0; waiting.shift()) {
      const { after, events } = waiting[0];
      if (take(after, events)) continue;
      await ask(); // something came between
      if (!take(after, events)) return stop.abort();
    }
    return undefined;
  };
  const listener = ({ data }) => {
    if (data.runId !== runId || stop.signal.aborted) return;
    opened();
    if (waiting.push(data) > 1) return;
    takeAll().catch((error) => {
      failure = error;
      stop.abort();
    });
  };
  channel.addEventListener("message", listener);
  const name = `${here} run ${runId}`;
  const hold = () => streamOrAsk(runId, { cursor, take, opened, ask, signal: stop.signal });
  try {
    const outcome = await navigator.locks.request(name, { ifAvailable: true }, (lock) => lock && hold());
    if (outcome !== null) return outcome;
    await ask(); // what the other tab passed on before this one listened
    return await navigator.locks.request(name, { signal: stop.signal }, hold);
  } catch (error) {
    if (error.name !== "AbortError") throw error;
    if (failure) throw failure;
    return false;
  } finally {
    channel.removeEventListener("message", listener);
    stop.abort();
  }
}

async function streamOrAsk(runId, reader) {
  const outcome = await (channel ? streamInPlace(runId, reader) : stream(runId, reader));
  if (outcome !== REFUSED) return outcome === BROKE;
  reader.opened();
  for (let count = 0; count < ASKS && !reader.signal.aborted; count += 1) {
    await sleep(ASK_EVERY);
    if (reader.signal.aborted) break;
    await reader.ask();
    channel?.postMessage({ runId, after: reader.cursor(), events: [] });
  }
  return false;
}

/** Read the stream if there is a place for it. Resolves as `stream` does. */
async function streamInPlace(runId, reader) {
  for (let place = 0; place < PLACES; place += 1) {
    const name = `${here} stream ${place}`;
    const outcome = await navigator.locks.request(name, { ifAvailable: true }, (lock) => lock && stream(runId, reader));
    if (outcome) return outcome;
  }
  return REFUSED;
}

/** Read the stream itself. Resolves to `ENDED`, also where the reader has ended it, `BROKE` or `REFUSED`. */
function stream(runId, { cursor, take, opened, signal }) {
  return new Promise((resolve) => {
    let gathered = [];
    let timer = null;
    const pass = () => {
      clearTimeout(timer);
      timer = null;
      if (gathered.length === 0) return;
      const [after, events] = [cursor(), gathered];
      gathered = [];
      channel?.postMessage({ runId, after, events });
      take(after, events);
    };
    const end = (outcome) => {
      source.close();
      try {
        pass();
      } finally {
        resolve(outcome); // also if the listener makes a mistake, since locks are held until then
      }
    };
    const gather = (event) => {
      gathered.push(event);
      timer ??= setTimeout(pass, GATHER);
    };
    const source = new RunStream(runPath(runId, "/events"), {
      transport: "fetch", // which gets events of any name, and notices a connection that is silent
      lastEventId: cursor(),
      onEvent: gather,
      onGap: (gap) => gather({ id: "", name: "gap", data: { gap } }),
      onEnd: (data) => {
        if (data) gather({ id: source.lastEventId, name: "complete", data });
        end(data ? ENDED : REFUSED);
      },
      onGone: () => end(REFUSED),
      // Whatever it was, a restart of the server or a limit on streams: what the run has now is asked for.
      onState: (state, { status }) => {
        if (state === "open") opened();
        else if (state === "retrying") end(status ? REFUSED : BROKE);
      },
    });
    signal.addEventListener("abort", () => end(ENDED), { once: true });
    if (signal.aborted) end(ENDED);
  });
}
