// The page's own words, in the language of the browser or the one that was chosen.

import { WORDS as en } from "./words.en.js";
import { WORDS as zh } from "./words.zh.js";

const LANGUAGES = { en, zh };
const KEPT = "noria-language";
const WHERE = { text: "words", label: "wordsLabel", hint: "wordsHint" };

let current = "en";

export function language() {
  return current;
}

export function preferred() {
  const chosen = kept();
  if (chosen in LANGUAGES) return chosen;
  const first = navigator.languages.find((one) => one.slice(0, 2) in LANGUAGES);
  return first ? first.slice(0, 2) : "en";
}

function kept() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

// The words of a key; {name} in them is taken from the values.
export function words(key, values = {}) {
  const found = LANGUAGES[current][key] ?? en[key];
  if (found === undefined) throw new Error(`no words for ${key}`);
  return found.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// The word for a value that the server names, or the value itself where there is none yet.
export function named(kind, value) {
  const key = `${kind}.${value}`;
  return key in en ? words(key) : value;
}

// Put words into an element (its text, its label or its hint) and keep them there in any language.
export function say(target, where, key, values = {}) {
  target.dataset[WHERE[where]] = key;
  target.dataset[`${WHERE[where]}Values`] = JSON.stringify(values);
  put(target, where);
}

function put(target, where) {
  const key = target.dataset[WHERE[where]];
  const text = words(key, JSON.parse(target.dataset[`${WHERE[where]}Values`] ?? "{}"));
  if (where === "text") target.textContent = text;
  if (where === "label") {
    target.setAttribute("aria-label", text);
    if (target.localName === "button") target.title = text;
  }
  if (where === "hint") target.placeholder = text;
}

export function speak(chosen, keep = false) {
  current = chosen;
  document.documentElement.lang = chosen;
  if (keep) {
    try {
      localStorage.setItem(KEPT, chosen);
    } catch {
      // as above
    }
  }
  document.dispatchEvent(new Event("language"));
  for (const one of document.querySelectorAll("[data-words]")) put(one, "text");
  for (const one of document.querySelectorAll("[data-words-label]")) put(one, "label");
  for (const one of document.querySelectorAll("[data-words-hint]")) put(one, "hint");
}

export function date(seconds) {
  return new Intl.DateTimeFormat(current, { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);
}
