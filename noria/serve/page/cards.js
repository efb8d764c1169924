// The model card and the data card, read on demand. The card is Markdown of a few kinds: headings,
// paragraphs, lists and tables (noria/evaluate/card.py writes it); anything else stays text.

import { ask, told } from "./ask.js";
import { element } from "./elements.js";

export function cards() {
  const model = element("div", { class: "markdown" });
  const opened = element("details", { class: "card" }, element("summary", { words: "cards.model" }), model);
  const data = element("div", { class: "markdown" });
  const dataOpened = element("details", { class: "card" }, element("summary", { words: "cards.data" }), data);
  const read = async (part, place) => {
    if (place.hasChildNodes()) return;
    try {
      const found = (await ask("GET", "/v1/loop/cards"))[part];
      place.replaceChildren(...(found ? markdown(found) : [element("p", { words: "cards.none" })]));
    } catch (error) {
      place.replaceChildren(element("p", { class: "problem", role: "alert" }, told(error)));
    }
  };
  opened.addEventListener("toggle", () => opened.open && read("model", model));
  dataOpened.addEventListener("toggle", () => dataOpened.open && read("data", data));
  return element("div", { class: "cards" }, opened, dataOpened);
}

export function markdown(text) {
  const made = [];
  for (const block of text.split(/\n{2,}/)) {
    const lines = block.trim().split("\n");
    const heading = /^(#{1,3}) (.*)$/.exec(lines[0]);
    if (heading) {
      made.push(element(`h${heading[1].length + 2}`, {}, ...inline(heading[2])));
      lines.shift();
    }
    if (!lines.length || !lines[0]) continue;
    if (lines.every((one) => one.startsWith("- "))) {
      made.push(element("ul", {}, ...lines.map((one) => element("li", {}, ...inline(one.slice(2))))));
    } else if (lines[0].startsWith("| ")) {
      made.push(tableOf(lines));
    } else {
      made.push(element("p", {}, ...inline(lines.join(" "))));
    }
  }
  return made;
}

function tableOf(lines) {
  const cells = (line) => line.split(/(?<!\\)\|/).slice(1, -1).map((one) => one.trim());
  const [head, , ...rows] = lines;
  const label = cells(head).join(", ").replaceAll("\\", "");
  return element(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    element(
      "table", {},
      element("thead", {}, element("tr", {}, ...cells(head).map((one) => element("th", { scope: "col" }, ...inline(one))))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row).map((one) => element("td", {}, ...inline(one)))))),
    ),
  );
}

// `code`, and characters that a backslash keeps from being markup.
function inline(text) {
  return text.split(/(`[^`]*`)/).filter(Boolean).map((part) =>
    part.startsWith("`") && part.endsWith("`") && part.length > 1
      ? element("code", {}, part.slice(1, -1))
      : part.replace(/\\([\\`*_{}[\]<>#|])/g, "$1"),
  );
}
