// The address of the page says what it shows: `#run/<id>` a run, `#run/<id>/<number>` a line of its log.

/** The run and line that an address names: `{runId, line}`, or null. */
export function readAddress(hash = location.hash) {
  const match = /^#run\/([^/]+)(?:\/(\d+))?$/.exec(hash);
  if (!match) return null;
  try {
    return { runId: decodeURIComponent(match[1]), line: match[2] ? Number(match[2]) : null };
  } catch {
    return null; // not an escape sequence
  }
}

/** The address of a run, or of a line of its log. */
export function addressOf(runId, line = null) {
  return `#run/${encodeURIComponent(runId)}${line === null ? "" : `/${line}`}`;
}
