// Requests to the server's API.

import { visible } from "./dom.js";

const ANSWER_WITHIN = 10_000; // milliseconds
const LATER = new Set([408, 425, 429]);

/** The server did not answer, or a proxy answered in its place. */
export class NoAnswer extends Error {}

/** The server refused; `message` says why. */
export class Refused extends Error {
  constructor(status, body) {
    super(typeof body?.detail === "string" ? body.detail : `HTTP ${status}`);
    this.status = status;
    this.body = body ?? {};
  }

  /** Whether it will stay refused, as what is not there or may not be read. */
  get isFinal() {
    return this.status < 500 && !LATER.has(this.status);
  }
}

/** The path of a run's resource. */
export const runPath = (runId, rest = "") => `api/runs/${encodeURIComponent(runId)}${rest}`;

/** Parse JSON, with characters that are not seen written out. */
export function parse(json) {
  return JSON.parse(json, (key, value) => (typeof value === "string" ? visible(value) : value));
}

/**
 * Ask the server for JSON.
 *
 * `options` are those of `fetch`, with `signal` for another time than ANSWER_WITHIN; `read` parses the answer. Throws
 * `NoAnswer` or `Refused`, or what a caller's `signal` was aborted with.
 */
export async function ask(path, { read = parse, ...options } = {}) {
  let response;
  let text;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_WITHIN), ...options });
    text = await response.text();
  } catch (error) {
    throw error.name === "AbortError" ? error : new NoAnswer(error.message);
  }
  let body;
  try {
    body = read(text);
  } catch (error) {
    // A connection that was lost in the middle of an answer. A refusal needs no more than its number.
    if (response.ok) throw new NoAnswer(error.message);
  }
  if (response.ok) return body;
  // A proxy says so while the server behind it restarts; the server itself refuses a start in this way, and says why.
  const isAway = response.status >= 502 && response.status <= 504;
  if (isAway && !(options.method === "POST" && body?.detail)) throw new NoAnswer(`HTTP ${response.status}`);
  throw new Refused(response.status, body);
}

/** Send a POST request with a JSON body. */
export function post(path, body = {}, headers = {}) {
  return ask(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
  });
}

/** A key that makes a repeated start the same start. */
export function idempotencyKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
