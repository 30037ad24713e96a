// The language of the page, and how numbers and times are written in it. Each language is one file in `texts/`.

import { kept } from "./settings.js";

const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const DAY = { month: "short", day: "numeric" };
const KIB = 1024;
const MIB = 1024 * KIB;

const languages = new Map();
let words = {};
let formats = {};

export let language = "en";

/** Load the languages that the page names. */
export async function loadTexts() {
  const names = document.documentElement.dataset.languages.split(" ");
  const modules = await Promise.all(names.map((name) => import(`./texts/${name}.js`)));
  for (const [place, name] of names.entries()) languages.set(name, modules[place].texts);
}

/** The languages as pairs of code and name. */
export const languageNames = () => [...languages].map(([code, texts]) => [code, texts.languageName]);

/** The language chosen earlier, else the browser's, else English. */
export function preferredLanguage() {
  const wanted = [kept("language"), ...navigator.languages.map((each) => each.split("-")[0]), "en"];
  return wanted.find((each) => languages.has(each));
}

/** Use this language from now on. */
export function setLanguage(wanted) {
  language = wanted;
  words = languages.get(wanted);
  formats = {
    time: new Intl.DateTimeFormat(wanted, TIME),
    dayAndTime: new Intl.DateTimeFormat(wanted, { ...DAY, ...TIME }),
    whole: new Intl.DateTimeFormat(wanted, { year: "numeric", ...DAY, ...TIME }),
  };
  document.documentElement.lang = wanted;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = text(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.ariaLabel = text(node.dataset.label);
  for (const node of document.querySelectorAll("[data-title]")) node.title = text(node.dataset.title);
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = text(node.dataset.placeholder);
  for (const node of document.querySelectorAll("option[data-status]")) node.textContent = named("statuses", node.dataset.status);
}

/** The text of this name, with these values in it. */
export function text(name, ...values) {
  const found = words[name];
  return typeof found === "function" ? found(...values) : found;
}

/** The text for a word of the server, such as a status, or the word itself. */
export function named(kind, word) {
  return Object.hasOwn(words[kind], word) ? words[kind][word] : word;
}

export function number(value, digits = 1) {
  return Number(value).toLocaleString(language, { maximumFractionDigits: digits });
}

export function percent(share) {
  return share.toLocaleString(language, { style: "percent" });
}

export function size(bytes) {
  if (bytes < KIB) return `${bytes} B`;
  return bytes < MIB ? `${number(bytes / KIB)} KiB` : `${number(bytes / MIB)} MiB`;
}

export const clock = (time) => formats.time.format(time);

export const wholeTime = (time) => formats.whole.format(time);

/** The time, with the day unless that is today. */
export function moment(time) {
  return (time.toDateString() === new Date().toDateString() ? formats.time : formats.dayAndTime).format(time);
}

/** A length of time in seconds, in words; `exact` gives fractions of a short one. */
export function span(length, exact) {
  const seconds = Math.max(0, length);
  if (seconds < 60) return text("seconds", exact ? number(seconds, seconds < 10 ? 2 : 1) : Math.floor(seconds));
  if (seconds < 3600) return text("minutes", Math.floor(seconds / 60), Math.floor(seconds % 60));
  return text("hours", Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60));
}
