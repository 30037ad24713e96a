/** How a stream is; `ended`, `gone` and `closed` are final. */
export type RunStreamState = "connecting" | "open" | "retrying" | "paused" | "ended" | "gone" | "closed";

export interface RunEvent {
  /** For `lastEventId`: opaque. */
  id: string;
  /** The name it was published with, or null. */
  name: string | null;
  /** What was published: log messages have `message`, `level` and `time`; progress `progress_current` and more. */
  data: any;
}

/** Events that nobody has any more: those from one number to another. */
export interface RunGap {
  from: number;
  to: number;
  missed: number;
}

/** The terminal event. */
export interface RunOutcome {
  run_id: string | number;
  complete: true;
  status: "completed" | "failed" | "cancelled" | (string & {});
  error?: string;
  cancel_requested?: true;
}

export interface RunStreamOptions {
  /** A log message, progress, a status, or what else was published. */
  onEvent?(event: RunEvent): void;
  /** Messages are missing here. */
  onGap?(gap: RunGap, data: any): void;
  /** The run id was started anew; events that follow are of the new run, from its start. */
  onLife?(fences: { from: string; to: string }): void;
  /** The run has ended; null if everything had been received before. */
  onEnd?(outcome: RunOutcome | null): void;
  /** There is no such run (404, 410), or it is refused (401, 403, another 4xx). */
  onGone?(answer: { status: number }): void;
  /**
   * `retrying` comes with the reason and, unless the browser decides it, the delay in milliseconds; `status` is that of
   * an answer that was no stream.
   */
  onState?(state: RunStreamState, detail: { reason?: string; delay?: number; status?: number }): void;

  /** Headers of each request, or what gives them: then fetch is used. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
  /** Used in place of the global one. */
  fetch?: typeof fetch;
  /** "fetch" where EventSource would do. Only fetch notices a connection that has become silent. */
  transport?: "auto" | "fetch";
  /** Names of further events that EventSource is to listen for; fetch gets all. */
  names?: string[];
  /** Send cookies to another origin. */
  withCredentials?: boolean;
  /** Resume after this event. */
  lastEventId?: string;
  /** Milliseconds before the first try after a failure, unless the server says another number; 1000. */
  minDelay?: number;
  /** Milliseconds between two tries at most; 30000. */
  maxDelay?: number;
  /** Milliseconds without a sign of the server after which fetch tries again; 45000, three heartbeats. */
  silence?: number;
}

/** Follows the events of a run, and resumes after the last one it has until the run has ended. */
export class RunStream {
  constructor(url: string | URL, options?: RunStreamOptions);
  readonly state: RunStreamState;
  readonly lastEventId: string;
  /** Stop for good. */
  close(): void;
  /** Give the connection back, for a page that nobody sees. */
  pause(): void;
  /** Go on after `pause`; a stream that waits to try again does so now. */
  resume(): void;
}

/** Takes server-sent events apart, in whatever pieces they come. */
export class EventParser {
  constructor(onRetry?: (milliseconds: number) => void);
  /** The events that are complete with this piece of the stream. */
  feed(text: string): Generator<{ id: string | undefined; name: string | null; data: string }>;
}
