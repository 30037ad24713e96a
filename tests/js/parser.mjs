// Cut one stream in every two places: the same events have to come.
import assert from "node:assert/strict";

const { EventParser } = await import(process.argv[2]);

const STREAM =
  "retry: 20\n: a comment\n\nid: 1-1\ndata: {}\n\n" +
  "id: 1-2\r\nevent: page\r\ndata: first\r\ndata:second\r\n\r\n" +
  "event: gap\rdata: no id\r\r" +
  "id: 1\0\ndata\n\n" +
  "event: nothing\n\n" +
  "data: 日本語 😀\nretry: x\n\ndata: never finished\n";
const EVENTS = [
  { id: "1-1", name: null, data: "{}" },
  { id: "1-2", name: "page", data: "first\nsecond" },
  { id: undefined, name: "gap", data: "no id" },
  { id: undefined, name: null, data: "" },
  { id: undefined, name: null, data: "日本語 😀" },
];

for (let first = 0; first <= STREAM.length; first++) {
  for (let second = first; second <= STREAM.length; second++) {
    const retries = [];
    const parser = new EventParser((milliseconds) => retries.push(milliseconds));
    const pieces = [STREAM.slice(0, first), STREAM.slice(first, second), STREAM.slice(second)];
    const events = pieces.flatMap((piece) => [...parser.feed(piece)]);
    assert.deepEqual(events, EVENTS);
    assert.deepEqual(retries, [20]);
  }
}
