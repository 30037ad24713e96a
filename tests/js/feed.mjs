// Tell the feed of a run what another tab passes on: each event has to come once, with no more requests than needed.
//     node feed.mjs FOLDER
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

// What a page has and Node has not. Another tab has the run's lock for good.
const wait = async (name, { ifAvailable, signal }, call) =>
  ifAvailable
    ? call(null)
    : new Promise((_, refuse) => signal.addEventListener("abort", () => refuse(signal.reason), { once: true }));
Object.defineProperty(globalThis, "navigator", { value: { locks: { request: wait } } });
globalThis.document = { baseURI: "http://host/", hidden: false, addEventListener() {}, removeEventListener() {} };
const set = setTimeout;
globalThis.setTimeout = (call, after) => set(call, after / 100);

const requests = [];
globalThis.fetch = (path) => new Promise((answer) => requests.push({ path, answer: (page) => answer(Response.json(page)) }));

const { RunFeed } = await import(new URL("feed.js", `${pathToFileURL(process.argv[2])}/`));

const event = (seq, data = {}) => ({ id: `1-${seq}`, name: null, data });
const events = (...seqs) => seqs.map((seq) => event(seq));
const gap = (from, to) => ({ from, to, missed: to - from + 1 });
const page = (after, ...held) => ({ events: held, gaps: [], next: held.at(-1)?.id ?? after, more: false, ended: false });

async function until(condition) {
  for (const deadline = Date.now() + 10_000; !condition(); await new Promise(setImmediate)) assert(Date.now() < deadline);
}

const otherTab = new BroadcastChannel("http://host/api/");
let runs = 0;

/**
 * A feed that has caught up with these events, and then with what came before it listened; its calls, and what passes a
 * batch of the other tab on to it.
 */
async function follow(first, second = page(first.next)) {
  const runId = `run ${++runs}`;
  const calls = [];
  const names = ["gap", "complete", "anew", "lost", "vanish"];
  const listener = Object.fromEntries(names.map((name) => [name, (...values) => calls.push([name, ...values])]));
  let heard = 0;
  const feed = new RunFeed(runId, {
    ...listener,
    events: (taken) => calls.push(...taken.map(({ number }) => number)),
    back: () => (heard += 1),
  });
  await until(() => requests.length === 1);
  requests.pop().answer(first);
  await until(() => requests.length === 1);
  requests.pop().answer(second);
  await until(() => heard === 2);
  const pass = async (after, ...batch) => {
    otherTab.postMessage({ runId, after, events: batch });
    const before = heard;
    await until(() => heard > before);
  };
  return { feed, calls, pass };
}

const tests = {
  async "what another tab passed on before this one listened was lost until the next event"() {
    const { feed, calls } = await follow(page("0", event(1)), page("1-1", event(2)));
    assert.deepEqual(calls, [1, 2]);
    feed.close();
  },

  async "a tab that was ahead of the one that reads the stream caught up again and again"() {
    const { feed, calls, pass } = await follow(page("0", ...events(1, 2, 3)));
    await pass("1-1", ...events(2, 3));
    await pass("1-3", ...events(4));
    assert.deepEqual(calls, [1, 2, 3, 4]);
    assert.deepEqual(requests, []);
    feed.close();
  },

  async "what another tab had missed was told as missing here"() {
    const { feed, calls, pass } = await follow(page("0", ...events(1, 2, 3)));
    await pass("1-1", { id: "", name: "gap", data: { gap: gap(2, 2) } }, event(3));
    await pass("1-3", { id: "", name: "gap", data: { gap: gap(4, 6) } }, event(7));
    assert.deepEqual(calls, [1, 2, 3, ["gap", gap(4, 6)], 7]);
    feed.close();
  },

  async "what was passed on while a tab caught up was lost on it"() {
    const { feed, calls, pass } = await follow(page("0", event(1)));
    await pass("1-3", ...events(4));
    await until(() => requests.length === 1);
    assert.match(requests[0].path, /after=1-1&/);
    await pass("1-4", ...events(5));
    await pass("1-5", ...events(6));
    requests.pop().answer(page("1-1", ...events(2, 3, 4)));
    await until(() => calls.length === 6);
    assert.deepEqual(calls, [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(requests, []);
    feed.close();
  },

  async "a tab that asks in place of a stream tells the others that there is more, and the end"() {
    const { calls, pass } = await follow(page("0", event(1)));
    await pass("1-1");
    assert.deepEqual(requests, []);
    await pass("1-3");
    await until(() => requests.length === 1);
    const end = { id: "1-3", name: "complete", data: { status: "completed" } };
    requests.pop().answer(page("1-1", event(2), end));
    await until(() => calls.length === 3);
    assert.deepEqual(calls, [1, 2, ["complete", end.data, 3]]);
    await new Promise(setImmediate);
    assert.deepEqual(requests, []);
  },

  async "a gap at the start of another life was told of the life before"() {
    const { feed, calls, pass } = await follow(page("0", ...events(1, 2, 3)));
    await pass("1-3", { id: "", name: "gap", data: { gap: gap(1, 2) } }, { ...event(3), id: "2-3" });
    assert.deepEqual(calls, [1, 2, 3, ["anew"], ["gap", gap(1, 2)], 3]);
    feed.close();
  },

  async "a mistake in a listener ended the feed"() {
    const said = [];
    console.error = (error) => said.push(error.message);
    let calls = 0;
    const events = () => {
      calls += 1;
      if (calls === 1) throw new Error("odd");
    };
    const listener = { back() {}, lost() {}, events };
    const feed = new RunFeed("odd", listener);
    await until(() => requests.length === 1);
    requests.pop().answer(page("0", event(1)));
    await until(() => requests.length === 1);
    assert.match(requests[0].path, /after=1-1&/);
    requests.pop().answer(page("1-1", event(2)));
    await until(() => calls === 2);
    assert.deepEqual(said, ["odd"]);
    feed.close();
  },
};

for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
  } catch (error) {
    console.error(`${name}:`, error);
    process.exitCode = 1;
  }
  requests.length = 0;
}
process.exit();
