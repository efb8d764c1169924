// Elements of the page. A text is always text, never markup: nothing here reads HTML.
// A text that has a translation is given by its key, as `words`, and follows the language (words.js).

import { say } from "./words.js";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "words") say(made, "text", value, attributes.values);
    else if (key === "label") say(made, "label", value, attributes.values);
    else if (key === "hint") say(made, "hint", value);
    else if (key === "values") continue;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value") made.value = value;
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((one) => one !== null && one !== undefined));
  return made;
}

export function button(words, onclick, attributes = {}) {
  return element("button", { type: "button", words, onclick, ...attributes });
}

const DRAWN = {
  up: "M7 10v10H4a1 1 0 0 1-1-1v-8a1 1 0 0 1 1-1h3Zm2 9.2V10l4-7.2c1.4 0 2.4 1.2 2.1 2.6L14.400 9H19a2 2 0 0 1 2 2.3l-1.200 7A2 2 0 0 1 17.800 20H12a4 4 0 0 1-3-.800Z",
  down: "M17 14V4h3a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1h-3Zm-2-9.200V14l-4 7.200c-1.400 0-2.400-1.200-2.100-2.600L9.600 15H5a2 2 0 0 1-2-2.300l1.200-7A2 2 0 0 1 6.200 4H12a4 4 0 0 1 3 .800Z",
};

export function drawing(name) {
  const space = "http://www.w3.org/2000/svg";
  const made = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", width: "18", height: "18", "aria-hidden": "true" })) {
    made.setAttribute(key, value);
  }
  path.setAttribute("d", DRAWN[name]);
  made.append(path);
  return made;
}

export function thumb(direction, onclick) {
  const made = element("button", { type: "button", class: "thumb", label: `thumb.${direction}`, "aria-pressed": "false", onclick });
  made.append(drawing(direction));
  return made;
}

// A row of a bar: its name, how long it is from 0 to 1, and the number.
export function bar(name, share, number, marked = false) {
  const filled = element("span", { class: "filled" });
  filled.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return element(
    "li",
    { class: marked ? "bar-row marked" : "bar-row" },
    element("span", { class: "bar-name" }, name),
    element("span", { class: "bar-track", "aria-hidden": "true" }, filled),
    element("span", { class: "bar-number" }, number),
  );
}

// The next thing to do is to write here. Where fingers point this would push a keyboard over what
// is to be read; there a person taps the field.
export function readyToWrite(field) {
  if (!matchMedia("(pointer: coarse)").matches) field.focus({ preventScroll: true });
}

// What a screen reader says now.
export function announce(text) {
  document.getElementById("status").textContent = text;
}

export function short(hash) {
  return element("code", { title: hash }, hash.slice(0, 12));
}

export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  return `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
}
