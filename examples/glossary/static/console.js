// The run console: starts runs of the demo, follows them, and shows what the manager holds.
//
// `RunStream` is how any page should read a run. Text of runs and documents is only ever set as text, never as markup.

const POLL_STATS = 1000; // milliseconds
const POLL_RUNS = 2000;
const REOPEN_AFTER = 2000;
const ANSWER_WITHIN = 10_000;
const NEWS_EVERY = 15_000; // progress that is read out
const MAX_LINES = 20_000; // kept in the page, as many as the server keeps
const LINES_A_CHUNK = 100; // what is out of sight is not laid out, a chunk at a time
const LINES_A_TURN = 1000; // so that the page answers while thousands arrive
const NEAR_END = 24; // pixels: who scrolls down so far means the end
const CHART_SECONDS = 60;
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const DATE_AND_TIME = { ...TIME, year: "numeric", month: "short", day: "numeric" };
const LEVELS = ["debug", "info", "warning", "error"];

// Texts. Those of the page's own elements are in index.html, in English.

const ENGLISH = {
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Reconnecting",
  noAnswerSince: (time) => `Connection to the server lost at ${time}. Reconnecting…`,
  noAnswer: "The server does not answer. Try again when it is back.",
  connectedAgain: "Connected again.",
  lostAndBack: (from, to) => `The connection was lost at ${from} and is back since ${to}. Nothing is missing unless a gap is shown.`,
  restarted: (time) => `The server was restarted (noticed at ${time}). This is its run with this number, from the start.`,
  allOf: (source) => `All texts in ${source}`,
  chosen: (files, size) => `${files === 1 ? "1 file" : `${number(files)} files`}, ${size}`,
  leftOut: (files) => `; ${files === 1 ? "1 more is no text and is" : `${number(files)} more are no texts and are`} left out`,
  sending: "Starting…",
  tooMany: (files, most) => `${number(files)} texts are too many: at most ${number(most)} can be read at once.`,
  tooLarge: (name, most) => `${name} is too large: a text has at most ${most}.`,
  tooLargeTogether: (size, most) => `${size} are too much: all texts together have at most ${most}.`,
  noTexts: (suffixes) => `None of these is a text (${suffixes}).`,
  stillRunning: (id) => `Run ${id} is still active: cancel it, or wait for its end.`,
  tooManyRuns: (most) => `${number(most)} runs are active: cancel one, or wait for its end.`,
  refused: (why) => why,
  run: (id) => `Run ${id}`,
  noSuchRun: (id) => `There is no run ${id} here. Choose another, or start one.`,
  running: "running",
  stopping: "stopping",
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
  lost: "lost",
  startedAt: (time, length) => `started at ${time}, ${length}`,
  cancelling: "Cancel requested",
  waiting: "Starting",
  steps: {},
  levels: { debug: "debug", info: "info", warning: "warning", error: "error" },
  said: {}, // by their key; without one a line is shown as the run said it
  failures: {
    NoTextError: (why, source) => `there is no text in the files of ${source}`,
    UnreadableError: (why) => why,
  },
  amount: (done, total) => (total ? `${number(done)} of ${number(total)} (${percent(done / total)})` : number(done)),
  completedIn: (length, made) => `Completed in ${length}${made && `: ${made}`}.`,
  cameTooLate: (length, made) => `Completed in ${length}${made && `: ${made}`}. The cancel came too late.`,
  cancelledAfter: (length) => `Cancelled after ${length}.`,
  failedAfter: (length, error) => `Failed after ${length}: ${error}`,
  gone: "The server no longer has this run: it was restarted, or has had many others since. What was read is still here.",
  gap: (missed, from, to) =>
    missed === 1
      ? `1 event is missing here (number ${from}): the server no longer held it.`
      : `${number(missed)} events are missing here (numbers ${from} to ${to}): the server no longer held them.`,
  noLines: "Nothing said yet.",
  noLinesKept: "No lines of this run are kept.",
  noMatch: "No line matches.",
  allLines: (lines) => (lines === 1 ? "1 line" : `${number(lines)} lines`),
  someLines: (shown, lines) => `${number(shown)} of ${number(lines)} lines`,
  older: (lines) => `; ${number(lines)} older ones are no longer shown`,
  newLines: (lines) => (lines === 0 ? "Newest ↓" : lines === 1 ? "1 new line ↓" : `${number(lines)} new lines ↓`),
  notMadeYet: "It is made when the run is completed.",
  notMade: "This run has made none.",
  noEntries: "No terms were found.",
  madeOf: (terms, documents) =>
    `${terms === 1 ? "1 term" : `${number(terms)} terms`} from ${documents === 1 ? "1 document" : `${number(documents)} documents`}`,
  where: (source, times) => `${source}, ${times === 1 ? "once" : `${number(times)} times`}`,
  peak: (most) => `peak ${most}`,
  chart: (now, most) => `${now} now, at most ${most} in the last minute`,
  serverSince: (time) => `Server started ${time}`,
  stats: {
    active_runs: "Active runs",
    subscribed_runs: "Followed before start",
    retained_runs: "Finished runs kept",
    events_held: "Events held",
    bytes_held: "Bytes held",
    events_published: "Events published",
    events_missed: "Events missed",
  },
  seconds: (seconds) => `${seconds} s`,
  minutes: (minutes, seconds) => `${minutes} min ${seconds} s`,
  hours: (hours, minutes) => `${hours} h ${minutes} min`,
};

const JAPANESE = {
  skip: "実行へ移動",
  title: "実行コンソール",
  language: "言語",
  newRun: "新しい実行",
  chooseFiles: "ファイル…",
  chooseFolder: "フォルダー…",
  forget: "取り消す",
  start: "開始",
  runs: "実行一覧",
  noRuns: "まだありません。上のボタンで開始してください。",
  noRun: "実行を開始するか選ぶと、ここに表示されます。",
  cancel: "中止",
  openGlossary: "用語集を開く",
  views: "実行の表示",
  log: "ログ",
  glossary: "用語集",
  levelFilter: "レベル",
  all: "すべて",
  problems: "警告以上",
  errors: "エラー",
  filter: "この文字を含む行を表示",
  filterHint: "文字で絞り込む",
  markdown: "Markdown で保存",
  inside: "マネージャーの中",
  eventRate: "毎秒のイベント",
  readers: "接続中の読者",
  minuteAgo: "1 分前",
  now: "現在",
  connecting: "接続しています…",
  connected: "接続中",
  reconnecting: "再接続中",
  noAnswerSince: (time) => `${time} にサーバーとの接続が切れました。再接続しています…`,
  noAnswer: "サーバーが応答しません。復旧してからやり直してください。",
  connectedAgain: "再び接続しました。",
  lostAndBack: (from, to) => `${from} に接続が切れ、${to} に戻りました。欠落の表示がなければ、抜けた行はありません。`,
  restarted: (time) => `サーバーが再起動されました（${time} に確認）。これは新しいサーバーの同じ番号の実行で、最初から表示しています。`,
  allOf: (source) => `${source} のすべての文書`,
  chosen: (files, size) => `${number(files)} 個のファイル、${size}`,
  leftOut: (files) => `（ほかの ${number(files)} 個は文書でないため除外）`,
  sending: "開始しています…",
  tooMany: (files, most) => `文書が ${number(files)} 個あり、多すぎます。一度に ${number(most)} 個まで読めます。`,
  tooLarge: (name, most) => `${name} は大きすぎます。一つの文書は ${most} までです。`,
  tooLargeTogether: (size, most) => `合計 ${size} は大きすぎます。全部で ${most} までです。`,
  noTexts: (suffixes) => `読める文書（${suffixes}）がありません。`,
  stillRunning: (id) => `実行 ${id} がまだ動いています。中止するか、終わるまでお待ちください。`,
  tooManyRuns: (most) => `${number(most)} 個の実行が動いています。どれかを中止するか、終わるまでお待ちください。`,
  refused: (why) => `サーバーに断られました: ${why}`,
  run: (id) => `実行 ${id}`,
  noSuchRun: (id) => `実行 ${id} はありません。ほかの実行を選ぶか、新しく開始してください。`,
  running: "実行中",
  stopping: "停止処理中",
  completed: "完了",
  failed: "失敗",
  cancelled: "中止済み",
  lost: "消失",
  startedAt: (time, length) => `${time} 開始、${length}`,
  cancelling: "中止を要求済み",
  waiting: "開始処理",
  steps: { Reading: "読み込み", Defining: "定義の選択" },
  levels: { debug: "詳細", info: "情報", warning: "警告", error: "エラー" },
  said: {
    read: ({ name, sentences }) => `${name}: ${number(sentences)} 文`,
    found: ({ terms, documents }) => `${number(documents)} 個の文書から ${number(terms)} 語`,
    encoding: ({ name, byte }) => `${name} は UTF-8 ではないため（位置 ${number(byte)}）、読み飛ばしました`,
    large: ({ name, most }) => `${name} は ${size(most)} を超えるため、読み飛ばしました`,
    link: ({ name }) => `${name} はフォルダーの外へのリンクなので、読み飛ばしました`,
    unopened: ({ name }) => `${name} は開けないため、読み飛ばしました`,
  },
  failures: {
    NoTextError: (why, source) => `${source} のファイルに文章がありません`,
    UnreadableError: (why) => why,
  },
  amount: (done, total) => (total ? `${number(done)} / ${number(total)}（${percent(done / total)}）` : number(done)),
  completedIn: (length, made) => `${length}で完了しました。${made}`,
  cameTooLate: (length, made) => `${length}で完了し、中止は間に合いませんでした。${made}`,
  cancelledAfter: (length) => `${length}で中止しました。`,
  failedAfter: (length, error) => `${length}で失敗しました: ${error}`,
  gone: "この実行はもうサーバーにありません。再起動されたか、その後に多くの実行がありました。読み終えたログは残っています。",
  gap: (missed, from, to) => `ここで ${number(missed)} 件のイベント（番号 ${from}～${to}）が欠落しています。サーバーに残っていませんでした。`,
  noLines: "まだ何もありません。",
  noLinesKept: "この実行のログは残っていません。",
  noMatch: "一致する行はありません。",
  allLines: (lines) => `${number(lines)} 行`,
  someLines: (shown, lines) => `${number(lines)} 行中 ${number(shown)} 行`,
  older: (lines) => `（古い ${number(lines)} 行は省略）`,
  newLines: (lines) => (lines === 0 ? "最新へ ↓" : `新しい ${number(lines)} 行 ↓`),
  notMadeYet: "実行が完了すると作られます。",
  notMade: "この実行では作られませんでした。",
  noEntries: "用語は見つかりませんでした。",
  madeOf: (terms, documents) => `${number(documents)} 個の文書から ${number(terms)} 語`,
  where: (source, times) => `${source}、${number(times)} 回`,
  peak: (most) => `最大 ${most}`,
  chart: (now, most) => `現在 ${now}、過去 1 分の最大 ${most}`,
  serverSince: (time) => `サーバーの起動: ${time}`,
  stats: {
    active_runs: "動作中の実行",
    subscribed_runs: "開始前に購読",
    retained_runs: "保持中の終了した実行",
    events_held: "保持中のイベント",
    bytes_held: "保持中のバイト数",
    events_published: "発行したイベント",
    events_missed: "読まれなかったイベント",
  },
  seconds: (seconds) => `${seconds} 秒`,
  minutes: (minutes, seconds) => `${minutes} 分 ${seconds} 秒`,
  hours: (hours, minutes) => `${hours} 時間 ${minutes} 分`,
};

const TEXTS = { en: ENGLISH, ja: JAPANESE };

let language = "en";
let clockFormat;

function text(name, ...values) {
  const found = TEXTS[language][name];
  return typeof found === "function" ? found(...values) : found;
}

function number(value, digits = 1) {
  return Number(value).toLocaleString(language, { maximumFractionDigits: digits });
}

function percent(share) {
  return share.toLocaleString(language, { style: "percent" });
}

function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : bytes < 1 << 20 ? `${number(bytes / 1024)} KiB` : `${number(bytes / (1 << 20))} MiB`;
}

function clock(time) {
  return clockFormat.format(time);
}

function span(milliseconds, exact) {
  const seconds = Math.max(0, milliseconds / 1000);
  if (seconds < 60) return text("seconds", exact ? number(seconds, seconds < 10 ? 2 : 1) : Math.floor(seconds));
  if (seconds < 3600) return text("minutes", Math.floor(seconds / 60), Math.floor(seconds % 60));
  return text("hours", Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60));
}

// The page and the server

const $ = (id) => document.getElementById(id);
const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** The server is not there. */
class NoAnswer extends Error {}

/** The server refuses; `message` says why. */
class Refused extends Error {
  constructor(status, body) {
    super(typeof body.detail === "string" ? body.detail : `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** Characters that are not seen, and those that would turn the direction of what follows, written out. */
function visible(text) {
  const written = (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`;
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, written);
}

/** All that the server says comes through here. */
function parse(json) {
  return JSON.parse(json, (key, value) => (typeof value === "string" ? visible(value) : value));
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_WITHIN), ...options });
  } catch (error) {
    throw new NoAnswer(error.message);
  }
  // A proxy says so when what is behind it is away.
  if (response.status >= 502) throw new NoAnswer(`HTTP ${response.status}`);
  let body = {};
  try {
    body = parse(await response.text());
  } catch (error) {
    // The connection was lost in the midst of the answer. A refusal needs no more than its number.
    if (response.ok) throw new NoAnswer(error.message);
  }
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

/** Does what needs the server; if it is not there, the next look at it will tell. */
async function attempt(work) {
  try {
    await work();
    connection.back("server");
  } catch (error) {
    if (error instanceof NoAnswer) connection.lost("server");
    else if (error instanceof Refused) connection.back("server");
    else throw error;
  }
}

/** Says something to screen readers: what matters now, and not every line. */
function announce(words) {
  $("news").textContent = words;
}

// Whether the server is there: asked by the polls and by the stream of the run that is shown.

const connection = {
  state: "connecting",
  lostAt: null,
  missing: new Set(),

  lost(who) {
    this.missing.add(who);
    this.lostAt ??= new Date();
    this.state = "reconnecting";
    this.show();
  },

  back(who) {
    this.missing.delete(who);
    if (this.missing.size > 0 || this.state === "connected") return;
    if (this.lostAt) announce(text("connectedAgain"));
    this.lostAt = null;
    this.state = "connected";
    this.show();
  },

  /** `who` no longer asks. */
  forget(who) {
    if (this.missing.has(who)) this.back(who);
  },

  show() {
    // What is shown of the server is old while it does not answer.
    document.body.dataset.connection = this.state;
    $("connection").dataset.state = this.state;
    $("connection").textContent = text(this.state);
    $("trouble").hidden = !this.lostAt;
    $("trouble").textContent = this.lostAt ? text("noAnswerSince", clock(this.lostAt)) : "";
  },
};

/**
 * Reads the events of one run, each once, from the start to the end.
 *
 * The browser itself reconnects and tells, by `Last-Event-ID`, where it was. An id is `<fence>-<seq>`: `seq` counts
 * 1, 2, 3 …, and another `fence` means another life of the run id, as after a restart of the server. After `complete`
 * the source must be closed, or the browser would connect again. A browser gives up for good when it is answered with an
 * error; then the source is made anew and tells by a query parameter where it was.
 *
 * The listener has `event(data)`, `gap(data)`, `complete(data, isOfThisLife)`; `anew()` before the events of another life;
 * `lost()`, `back()`; and `vanish()` when the server has no such run any more.
 */
class RunStream {
  #source = null;
  #lastId = "";
  #fence = "";
  #seq = 0;
  #gap = null;

  constructor(runId, listener) {
    this.runId = runId;
    this.listener = listener;
    this.#open();
  }

  close() {
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    const query = this.#lastId && `?last_event_id=${encodeURIComponent(this.#lastId)}`;
    const source = new EventSource(`runs/${this.runId}/events${query}`);
    this.#source = source;
    source.addEventListener("open", () => this.listener.back());
    source.addEventListener("message", (event) => this.#take(event));
    source.addEventListener("gap", (event) => {
      // It has no id; the event that follows it says to which life it belongs.
      this.#gap = parse(event.data);
    });
    source.addEventListener("complete", (event) => {
      this.close();
      const isOfThisLife = !this.#fence || event.lastEventId.startsWith(`${this.#fence}-`);
      if (isOfThisLife) this.#showGap();
      this.listener.complete(parse(event.data), isOfThisLife);
    });
    source.addEventListener("error", () => {
      if (this.#source !== source) return;
      this.listener.lost();
      if (source.readyState === EventSource.CLOSED) this.#reopen(source);
    });
  }

  async #reopen(source) {
    while (this.#source === source) {
      await sleep(REOPEN_AFTER);
      try {
        await ask(`runs/${this.runId}`);
        if (this.#source === source) this.#open();
      } catch (error) {
        if (error.status === 404 && this.#source === source) this.listener.vanish();
      }
    }
  }

  #take(event) {
    const [fence, seq] = event.lastEventId.split("-");
    if (fence !== this.#fence) {
      if (this.#fence) this.listener.anew();
      this.#fence = fence;
    } else if (Number(seq) <= this.#seq) {
      return;
    }
    this.#seq = Number(seq);
    this.#lastId = event.lastEventId;
    this.#showGap();
    this.listener.event(parse(event.data));
  }

  #showGap() {
    if (this.#gap) this.listener.gap(this.#gap);
    this.#gap = null;
  }
}

/** The lines of the run that is shown. The newest stays in view unless the reader has scrolled up. */
class Log {
  #waiting = [];
  #timer = null;
  #chunks = [];
  #counts = {};
  #leftOut = 0;
  #unseen = 0;
  #atEnd = true;
  #lastTop = 0;
  #level = "all";
  #words = "";
  #ended = false;

  constructor() {
    this.frame = $("log");
    this.body = $("log-lines");
    this.clear();
    this.frame.addEventListener("scroll", () => this.#seeScroll(), { passive: true });
    // Also when lines that wrap are laid out for the first time, or the window changes.
    const observer = new ResizeObserver(() => this.#follow());
    observer.observe(this.body);
    observer.observe(this.frame);
    $("newest").addEventListener("click", () => {
      this.#goToEnd();
      this.frame.focus();
    });
    this.frame.addEventListener("keydown", (event) => {
      if (event.key !== "End") return;
      // Left to itself, a browser stops where the end seemed to be before all on the way was laid out.
      event.preventDefault();
      this.#goToEnd();
    });
    $("levels").addEventListener("change", (event) => {
      this.#level = event.target.value;
      this.#filter();
    });
    $("words").addEventListener("input", (event) => {
      this.#words = event.target.value.trim().toLowerCase();
      this.#filter();
    });
  }

  clear() {
    this.#waiting = [];
    this.#chunks = [];
    this.#counts = { all: 0, shown: 0, warning: 0, error: 0 };
    this.#leftOut = 0;
    this.#unseen = 0;
    this.#atEnd = true;
    this.#ended = false;
    this.body.replaceChildren();
    this.show();
  }

  /** Adds a line: its `time` (a Date or null), its `level`, and `say`, which gives its text in the present language. */
  add(line) {
    this.#waiting.push(line);
    if (this.#waiting.length > 2 * MAX_LINES) {
      // In a window that nobody sees, timers are slow.
      this.#waiting.splice(0, MAX_LINES);
      this.#leftOut += MAX_LINES;
    }
    this.#timer ??= setTimeout(() => this.#flush(), 20);
  }

  /** Adds a remark of the page. */
  remark(kind, say) {
    this.add({ time: new Date(), level: kind, say, isRemark: true });
  }

  end() {
    this.#ended = true;
    this.show();
  }

  show() {
    const { all, shown, warning, error } = this.#counts;
    $("lines").textContent = all ? number(all) : "";
    $("problems").textContent = warning + error ? number(warning + error) : "";
    $("errors").textContent = error ? number(error) : "";
    const some = shown === all ? text("allLines", all) : text("someLines", shown, all);
    $("shown").textContent = (all ? some : "") + (this.#leftOut ? text("older", this.#leftOut) : "");
    $("nothing").hidden = this.#chunks.some((chunk) => chunk.shown > 0);
    $("nothing").textContent = text(all ? "noMatch" : this.#ended ? "noLinesKept" : "noLines");
    $("newest").hidden = this.#atEnd;
    $("newest").textContent = text("newLines", this.#unseen);
  }

  speak() {
    for (const line of this.#chunks.flatMap((chunk) => chunk.lines)) {
      const [time, level, words] = line.row.children;
      line.text = line.say();
      if (line.time) time.textContent = clock(line.time);
      if (!line.isRemark) level.textContent = text("levels")[line.level];
      words.textContent = line.text;
    }
    if (this.#words) this.#filter();
    this.show();
  }

  #flush() {
    this.#timer = null;
    // A reader may have scrolled just now, and the event is yet to come.
    this.#seeScroll();
    for (const line of this.#waiting.splice(0, LINES_A_TURN)) this.#append(line);
    while (this.#counts.all - LINES_A_CHUNK >= MAX_LINES) this.#leaveOutOldest();
    this.#settle();
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#flush(), 0);
  }

  #append(line) {
    let chunk = this.#chunks.at(-1);
    if (!chunk || chunk.lines.length === LINES_A_CHUNK) {
      chunk = { element: element("div", { className: "chunk" }), lines: [], shown: 0 };
      this.#chunks.push(chunk);
      this.body.append(chunk.element);
    }
    line.text = line.say();
    line.row = element(
      "p",
      { className: `line ${line.level}` },
      element("time", {}, line.time ? clock(line.time) : ""),
      element("span", { className: "level" }, line.isRemark ? "" : text("levels")[line.level]),
      element("span", { className: "text", dir: "auto" }, line.text),
    );
    line.row.hidden = !this.#matches(line);
    chunk.lines.push(line);
    chunk.element.append(line.row);
    this.#count(chunk, line, 1);
    if (!this.#atEnd && !line.row.hidden) this.#unseen += 1;
  }

  #count(chunk, line, by) {
    const isLine = !line.isRemark;
    this.#counts.all += isLine && by;
    if (line.level in this.#counts) this.#counts[line.level] += by;
    if (line.row.hidden) return;
    this.#counts.shown += isLine && by;
    chunk.shown += by;
    // The height that is assumed while the chunk is out of sight.
    chunk.element.style.setProperty("--lines", chunk.shown);
  }

  #leaveOutOldest() {
    const chunk = this.#chunks.shift();
    for (const line of chunk.lines) this.#count(chunk, line, -1);
    chunk.element.remove();
    this.#leftOut += chunk.lines.length;
  }

  #matches(line) {
    if (line.isRemark) return true;
    if (LEVELS.indexOf(line.level) < LEVELS.indexOf(this.#level)) return false;
    return !this.#words || line.text.toLowerCase().includes(this.#words);
  }

  #filter() {
    this.#counts = { all: 0, shown: 0, warning: 0, error: 0 };
    for (const chunk of this.#chunks) {
      chunk.shown = 0;
      for (const line of chunk.lines) {
        line.row.hidden = !this.#matches(line);
        this.#count(chunk, line, 1);
      }
    }
    this.#goToEnd();
    announce($("shown").textContent);
  }

  #goToEnd() {
    this.#atEnd = true;
    this.#settle();
  }

  #settle() {
    this.#follow();
    this.show();
  }

  #follow() {
    if (this.#atEnd) {
      this.frame.scrollTop = this.frame.scrollHeight;
      this.#lastTop = this.frame.scrollTop;
      this.#unseen = 0;
    }
  }

  #seeScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.frame;
    const left = scrollHeight - scrollTop - clientHeight;
    const moved = scrollTop - this.#lastTop;
    // Lines that arrive move the end away, but only a reader moves up.
    if (left <= 1 || (moved > 0 && left < NEAR_END)) this.#atEnd = true;
    else if (moved < 0) this.#atEnd = false;
    this.#lastTop = scrollTop;
    if (this.#atEnd) this.#unseen = 0;
    this.show();
  }
}

const log = new Log();

// The run that is shown

const view = {
  run: null, // as the server gave it last
  missing: null, // or the number of a run that is not there
  gone: false,
  stream: null,
  lostAt: null,
  progress: null,
  saidAt: 0,
  glossary: null,
  asking: false,

  /** Shows a run from the start of its log. */
  open(run) {
    this.close();
    this.run = run;
    this.stream = new RunStream(run.run_id, this);
    this.show();
    this.fetchGlossary();
    announce(`${text("run", run.run_id)}, ${text(statusOf(run))}`);
  },

  close() {
    this.stream?.close();
    connection.forget("stream");
    Object.assign(this, { run: null, missing: null, gone: false, stream: null, lostAt: null, progress: null, glossary: null });
    log.clear();
    this.showGlossary();
    selectTab($("log-tab"));
  },

  /** Says that there is no such run. */
  miss(runId) {
    if (this.missing === runId) return;
    this.close();
    this.missing = runId;
    this.show();
  },

  /** Takes what the server now says of the run, or of the one that has its number since a restart. */
  update(run) {
    const before = this.run;
    if (before.started_at !== null && before.started_at !== run.started_at) {
      this.open(run);
      this.remarkRestart();
      return;
    }
    this.run = run;
    this.show();
    this.fetchGlossary();
    if (statusOf(before) !== statusOf(run)) announce(run.status === "running" ? text(statusOf(run)) : outcomeOf(run));
  },

  async fetchGlossary() {
    const run = this.run;
    if (run.status !== "completed" || this.glossary || this.asking) return;
    this.asking = true;
    await attempt(async () => {
      const glossary = await ask(`runs/${run.run_id}/glossary`);
      if (this.run?.started_at !== run.started_at) return; // another is shown by now
      this.glossary = glossary;
      this.show();
      this.showGlossary();
    });
    this.asking = false;
  },

  // What the stream calls

  event(data) {
    if ("progress_current" in data) this.advance(data.step ?? "", Number(data.progress_current), data.progress_total);
    if ("message" in data) {
      const level = LEVELS.includes(data.level) ? data.level : "info";
      log.add({ time: data.time ? new Date(data.time) : null, level, say: () => saidOf(data) });
    }
  },

  advance(step, done, total) {
    const isNews = step !== this.progress?.step || Date.now() - this.saidAt > NEWS_EVERY;
    this.progress = { step, done, total: total ?? null };
    this.showProgress();
    if (isNews) {
      this.saidAt = Date.now();
      announce(`${$("step").textContent} ${$("amount").textContent}`);
    }
  },

  gap({ gap }) {
    log.remark("gap", () => text("gap", gap.missed, gap.from, gap.to));
  },

  complete(data, isOfThisLife) {
    this.stream = null;
    connection.forget("stream");
    log.end();
    // Of another life only the server knows whether it is of this run, without its log, or of another since a restart.
    if (isOfThisLife) this.update({ ...this.run, status: data.status, error: data.error ?? null });
    lookAtRuns();
  },

  anew() {
    log.clear();
    this.remarkRestart();
    // The next look at the runs tells which run it is.
    Object.assign(this, { run: { ...this.run, status: "running", started_at: null }, progress: null, glossary: null });
    this.show();
    this.showGlossary();
    lookAtRuns();
  },

  lost() {
    this.lostAt ??= new Date();
    connection.lost("stream");
  },

  back() {
    const from = this.lostAt;
    const to = new Date();
    if (from) log.remark("remark", () => text("lostAndBack", clock(from), clock(to)));
    this.lostAt = null;
    connection.back("stream");
  },

  vanish() {
    if (this.gone) return;
    this.stream?.close();
    this.stream = null;
    connection.forget("stream");
    this.gone = true;
    this.show();
    announce(text("gone"));
  },

  remarkRestart() {
    const now = new Date();
    log.remark("remark", () => text("restarted", clock(now)));
  },

  // What is seen

  show() {
    const { run } = this;
    $("chosen-run").hidden = !run;
    $("no-run").hidden = Boolean(run);
    $("no-run").textContent = this.missing === null ? text("noRun") : text("noSuchRun", this.missing);
    if (!run) return;
    const status = this.gone ? "lost" : statusOf(run);
    const isRunning = run.status === "running" && !this.gone;
    $("run-title").textContent = text("run", run.run_id);
    $("status").dataset.status = status;
    $("status").textContent = text(status);
    $("source").textContent = run.source;
    this.showTimes();
    if (!isRunning && document.activeElement === $("cancel")) $("run").focus();
    $("cancel").hidden = !isRunning;
    $("cancel").ariaDisabled = run.cancel_requested;
    $("cancel").textContent = text(run.cancel_requested ? "cancelling" : "cancel");
    $("progress").hidden = !isRunning;
    this.showProgress();
    $("outcome").hidden = isRunning;
    $("outcome").dataset.status = status;
    $("outcome-text").textContent = this.gone ? text("gone") : outcomeOf(run);
    $("open-glossary").hidden = !this.glossary;
    $("no-glossary").textContent = text(this.glossary ? "noEntries" : isRunning ? "notMadeYet" : "notMade");
  },

  showTimes() {
    if (!this.run) return;
    const { started_at } = this.run;
    $("times").textContent = started_at && text("startedAt", clock(new Date(started_at)), lengthOf(this.run));
  },

  showProgress() {
    const { step, done, total } = this.progress ?? { step: "", done: 0, total: null };
    const isKnown = Object.hasOwn(text("steps"), step);
    $("step").textContent = isKnown ? text("steps")[step] : step || text("waiting");
    $("amount").textContent = this.progress ? text("amount", done, total) : "";
    $("bar").max = total || 1;
    if (total === null) $("bar").removeAttribute("value");
    else $("bar").value = total === 0 ? 1 : done;
  },

  showGlossary() {
    const entries = this.glossary?.entries ?? [];
    $("terms").textContent = this.glossary ? number(entries.length) : "";
    $("no-glossary").hidden = entries.length > 0;
    $("entries").replaceChildren(...entries.map(entryElement));
    $("markdown").hidden = !this.glossary;
    if (this.glossary) $("markdown").href = `runs/${this.run.run_id}/glossary.md`;
  },
};

function statusOf(run) {
  return run.status === "running" && run.cancel_requested ? "stopping" : run.status;
}

function lengthOf(run) {
  return span((run.finished_at ? new Date(run.finished_at) : new Date()) - new Date(run.started_at), run.finished_at);
}

function outcomeOf(run) {
  const length = lengthOf(run);
  if (run.status === "completed") {
    const made = view.glossary && text("madeOf", view.glossary.entries.length, view.glossary.documents);
    return text(run.cancel_requested ? "cameTooLate" : "completedIn", length, made ?? "");
  }
  if (run.status === "cancelled") return text("cancelledAfter", length);
  return run.status === "failed" ? text("failedAfter", length, failureOf(run)) : "";
}

/** The server gives the kind of an error and its message; of some kinds this page knows what to say. */
function failureOf({ error, source }) {
  const [kind, ...message] = (error ?? "").split(": ");
  return Object.hasOwn(text("failures"), kind) ? text("failures")[kind](message.join(": "), source) : (error ?? "");
}

/** A line of a run: in the present language if this page knows its key. */
function saidOf(data) {
  return Object.hasOwn(text("said"), data.key) ? text("said")[data.key](data) : String(data.message);
}

function entryElement({ term, language, count, definition, source }) {
  return element(
    "div",
    {},
    element("dt", { lang: language }, term),
    element("dd", { lang: language, dir: "auto" }, definition),
    element("dd", { className: "where", dir: "auto" }, text("where", source, count)),
  );
}

$("cancel").addEventListener("click", () => {
  const { run } = view;
  if (run.cancel_requested) return;
  attempt(async () => {
    // Since a restart another run may have its number; that one is not meant.
    const meant = new URLSearchParams({ started_at: run.started_at });
    await ask(`runs/${run.run_id}/cancel?${meant}`, { method: "POST" });
  }).then(lookAtRuns);
});

const tabs = [$("log-tab"), $("glossary-tab")];

function selectTab(chosen) {
  for (const tab of tabs) {
    tab.ariaSelected = tab === chosen;
    tab.tabIndex = tab === chosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
}

for (const [place, tab] of tabs.entries()) {
  tab.addEventListener("click", () => selectTab(tab));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = tabs[1 - place];
    selectTab(other);
    other.focus();
  });
}

$("open-glossary").addEventListener("click", () => {
  selectTab($("glossary-tab"));
  $("glossary-tab").focus();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  // The address keeps saying which run is shown.
  event.preventDefault();
  $("run").focus();
});

// The runs. The address says which one is shown, so that a reload and a bookmark find it again.

let runs = [];
let looks = 0;

async function lookAtRuns() {
  await attempt(async () => {
    const mine = ++looks;
    const found = await ask("runs");
    if (mine !== looks) return; // another look began later
    runs = found;
    showRuns();
    showChosen();
  });
}

function showChosen() {
  const address = /^#run-(\d+)$/.exec(location.hash);
  if (!address && runs.length === 0) return;
  const runId = address ? Number(address[1]) : runs[0].run_id;
  if (!address) history.replaceState(null, "", `#run-${runId}`);
  const run = runs.find((each) => each.run_id === runId);
  const shown = view.run?.run_id === runId ? view.run : null;
  if (shown && run) view.update(run);
  else if (shown) view.vanish();
  else if (run) view.open(run);
  else view.miss(runId);
  markChosen();
}

function showRuns() {
  const known = new Map([...$("runs").children].map((item) => [item.dataset.key, item]));
  const items = runs.map((run) => {
    const key = `${run.run_id} ${run.started_at}`;
    const item = known.get(key) ?? runElement(run, key);
    const [name, status, length] = item.querySelectorAll(".name, .status, .length");
    name.textContent = text("run", run.run_id);
    status.dataset.status = statusOf(run);
    status.textContent = text(statusOf(run));
    length.textContent = lengthOf(run);
    known.delete(key);
    return item;
  });
  for (const item of known.values()) item.remove();
  // Those that are there stay there, and with them the focus.
  for (const [place, item] of items.entries()) {
    if ($("runs").children[place] !== item) $("runs").insertBefore(item, $("runs").children[place] ?? null);
  }
  $("no-runs").hidden = runs.length > 0;
}

function runElement(run, key) {
  const link = element(
    "a",
    { href: `#run-${run.run_id}` },
    element("span", { className: "name" }),
    element("span", { className: "status" }),
    element("span", { className: "source", dir: "auto", title: run.source }, run.source),
    element("span", { className: "length" }),
  );
  const item = element("li", {}, link);
  item.dataset.key = key;
  return item;
}

function markChosen() {
  for (const link of $("runs").querySelectorAll("a")) {
    if (link.hash === location.hash) link.ariaCurrent = "true";
    else link.removeAttribute("aria-current");
  }
}

$("runs").addEventListener("keydown", (event) => {
  const item = event.target.closest("li");
  const next = { ArrowDown: item.nextElementSibling, ArrowUp: item.previousElementSibling }[event.key];
  if (!next) return;
  event.preventDefault();
  next.firstChild.focus();
});

$("runs").addEventListener("click", (event) => {
  if (event.target.closest("a")) bringRunIntoView();
});

/** In a narrow window the runs are below the one that is shown. */
function bringRunIntoView() {
  $("run").scrollIntoView();
}

addEventListener("hashchange", () => {
  showChosen();
  if (view.missing !== null) lookAtRuns();
});

// A new run: of the folder that the server reads, or of files from here

let about = null;
let chosen = []; // pairs of name and file
let leftOut = 0;

async function learnAbout() {
  about = await ask("about");
  $("new").disabled = false;
  $("files").accept = about.text_suffixes.join();
  showStart($("refusal").textContent);
}

function isText(name) {
  const folders = name.split("/");
  const file = folders.pop();
  const dot = file.lastIndexOf(".");
  const isPassedOver = (folder) => folder.startsWith(".") || about.skipped_folders.includes(folder);
  return dot > 0 && about.text_suffixes.includes(file.slice(dot).toLowerCase()) && !folders.some(isPassedOver);
}

function totalOf(files) {
  return files.reduce((sum, [, file]) => sum + file.size, 0);
}

/** Why the server would refuse these files, or nothing. */
function refusalOf(files) {
  const total = totalOf(files);
  const [largest] = files.find(([, file]) => file.size > about.max_file_bytes) ?? [];
  if (files.length === 0) return text("noTexts", about.text_suffixes.join(" "));
  if (files.length > about.max_files) return text("tooMany", files.length, about.max_files);
  if (largest !== undefined) return text("tooLarge", visible(largest), size(about.max_file_bytes));
  if (total > about.max_total_bytes) return text("tooLargeTogether", size(total), size(about.max_total_bytes));
  return "";
}

function choose(files) {
  if (files.length === 0) return;
  const named = [...files].map((file) => [file.webkitRelativePath || file.name, file]);
  const texts = named.filter(([name]) => isText(name));
  const refusal = refusalOf(texts);
  chosen = refusal ? [] : texts;
  leftOut = named.length - texts.length;
  // The same files can be chosen again.
  $("files").value = $("folder").value = "";
  showStart(refusal);
  if (!refusal) $("go").focus();
}

function showStart(refusal = "") {
  const words = chosen.length ? text("chosen", chosen.length, size(totalOf(chosen))) + (leftOut ? text("leftOut", leftOut) : "") : "";
  $("chosen").textContent = words || (about ? text("allOf", about.source) : "");
  $("forget").hidden = chosen.length === 0;
  $("refusal").hidden = !refusal;
  $("refusal").textContent = refusal;
  const startedAt = about && new Date(about.started_at).toLocaleString(language, DATE_AND_TIME);
  $("since").textContent = about ? text("serverSince", startedAt) : "";
}

async function start() {
  let body;
  if (chosen.length) {
    body = new FormData();
    for (const [name, file] of chosen) body.append("files", file, name);
  }
  try {
    // Large files take their time.
    const run = await ask("runs", { method: "POST", body, signal: null });
    chosen = [];
    showStart();
    looks += 1; // one that is under way does not know it yet
    runs = [run, ...runs];
    showRuns();
    location.hash = `#run-${run.run_id}`;
    bringRunIntoView();
  } catch (error) {
    if (error instanceof NoAnswer) showStart(text("noAnswer"));
    else if (error instanceof Refused) showStart(wordsOf(error));
    else throw error;
  }
}

/** Why the server has refused to start a run. */
function wordsOf({ message, body }) {
  switch (body.code) {
    case "still_running":
      return text("stillRunning", body.run_id);
    case "too_many_runs":
      return text("tooManyRuns", body.most);
    case "too_large":
      return text("tooLarge", body.name, size(body.most));
    case "too_large_together":
      return text("tooLargeTogether", size(totalOf(chosen)), size(body.most));
    case "no_texts":
      return text("noTexts", body.text_suffixes.join(" "));
    default:
      return text("refused", message);
  }
}

$("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  if ($("go").ariaDisabled === "true") return;
  $("go").ariaDisabled = "true";
  $("go").textContent = text("sending");
  await start();
  $("go").ariaDisabled = "false";
  $("go").textContent = text("start");
});
$("files").addEventListener("change", (event) => choose(event.target.files));
$("folder").addEventListener("change", (event) => choose(event.target.files));
$("forget").addEventListener("click", () => {
  chosen = [];
  showStart();
  $("go").focus();
});
$("start").addEventListener("dragover", (event) => event.preventDefault());
$("start").addEventListener("drop", (event) => {
  event.preventDefault();
  if (about) choose(event.dataTransfer.files);
});

// Inside the manager

/** The values of the last minute, one a second, as an area below a line. */
class Chart {
  #values = [];

  constructor(name) {
    this.svg = $(`${name}-chart`);
    this.hasSteps = this.svg.classList.contains("steps");
    this.value = this.svg.parentElement.querySelector(".value");
  }

  push(value) {
    this.#values = [...this.#values, value].slice(-CHART_SECONDS - 1);
    this.show();
  }

  show() {
    const values = this.#values;
    if (values.length === 0) return;
    const most = Math.max(...values);
    const first = CHART_SECONDS + 1 - values.length;
    const points = values.map((value, place) => [first + place, 23 - 22 * (value / (most || 1))]);
    const join = this.hasSteps ? ([x, y]) => `H${x}V${y}` : ([x, y]) => `L${x} ${y}`;
    const line = `M${points[0].join(" ")}${points.slice(1).map(join).join("")}`;
    this.svg.querySelector(".line").setAttribute("d", line);
    this.svg.querySelector(".area").setAttribute("d", `${line}V24H${first}Z`);
    const now = number(values.at(-1));
    this.svg.ariaLabel = text("chart", now, number(most));
    this.value.replaceChildren(`${now} `, element("small", {}, text("peak", number(most))));
  }
}

const eventChart = new Chart("event");
const readerChart = new Chart("reader");
let stats = null;
let statsAt = 0;

async function lookInside() {
  await attempt(async () => {
    const wasAway = connection.state !== "connected";
    const found = await ask("stats");
    const now = performance.now();
    // Then the count begins again.
    const wasRestarted = found.events_published < stats?.events_published;
    if (stats) {
      const published = Math.max(0, found.events_published - stats.events_published);
      eventChart.push(Math.round((published * 1000) / (now - statsAt)));
    }
    readerChart.push(found.subscribers);
    stats = found;
    statsAt = now;
    showStats();
    if (wasAway || wasRestarted || !about) await learnAbout();
  });
}

function showStats() {
  const list = $("stats");
  // The subscribers are the readers of the chart.
  const { subscribers, ...others } = stats ?? {};
  for (const [name, value] of Object.entries(others)) {
    let row = list.querySelector(`[data-name="${name}"]`);
    if (!row) {
      row = element("div", {}, element("dt"), element("dd"));
      row.dataset.name = name;
      list.append(row);
    }
    const [label, shown] = row.children;
    const words = name.startsWith("bytes") ? size(value) : number(value);
    label.textContent = text("stats")[name] ?? name;
    if (shown.textContent && shown.textContent !== words) flash(row);
    shown.textContent = words;
  }
}

function flash(row) {
  row.classList.add("changed");
  // Fades out by the style sheet, once the browser has seen it.
  requestAnimationFrame(() => requestAnimationFrame(() => row.classList.remove("changed")));
}

// Languages

for (const node of document.querySelectorAll("[data-text]")) ENGLISH[node.dataset.text] = node.textContent;
for (const node of document.querySelectorAll("[data-label]")) ENGLISH[node.dataset.label] ??= node.ariaLabel;
for (const node of document.querySelectorAll("[data-placeholder]")) ENGLISH[node.dataset.placeholder] = node.placeholder;

function speak(wanted) {
  language = wanted;
  clockFormat = new Intl.DateTimeFormat(language, TIME);
  document.documentElement.lang = language;
  document.title = text("title");
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.ariaLabel = text(node.dataset.label);
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = text(node.dataset.placeholder);
  for (const button of document.querySelectorAll("[data-language]")) button.ariaPressed = button.dataset.language === language;
  connection.show();
  log.speak();
  view.show();
  view.showGlossary();
  showRuns();
  showStart();
  showStats();
  eventChart.show();
  readerChart.show();
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    speak(button.dataset.language);
    try {
      localStorage.setItem("language", language);
    } catch {
      // A browser that keeps nothing asks again next time.
    }
  });
}

function preferredLanguage() {
  try {
    const kept = localStorage.getItem("language");
    if (Object.hasOwn(TEXTS, kept)) return kept;
  } catch {
    // as above
  }
  return navigator.language.startsWith("ja") ? "ja" : "en";
}

// Off it goes. A page that nobody sees does not ask.

async function repeat(work, every) {
  for (;;) {
    if (!document.hidden) await work();
    await sleep(every);
  }
}

speak(preferredLanguage());
repeat(lookInside, POLL_STATS);
repeat(lookAtRuns, POLL_RUNS);
setInterval(() => {
  if (view.run?.status === "running" && !view.gone) view.showTimes();
}, 1000);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) lookAtRuns();
});
