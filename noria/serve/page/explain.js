// Why this answer: how likely each token was, what else could have stood there, and what the model
// looked at when it chose one, by layer and head.

import { ask, told } from "./ask.js";
import { bar, element, percent } from "./elements.js";
import { say, words } from "./words.js";

const MEAN = "mean";

export function explanation(interactionId) {
  const box = element("section", { class: "why", tabindex: "-1", label: "why" }, element("p", { class: "quiet", words: "why.wait" }));
  ask("POST", "/v1/explain", { interaction_id: interactionId })
    .then((found) => show(box, interactionId, found))
    .catch((error) => box.replaceChildren(element("p", { class: "problem", role: "alert" }, told(error))));
  return box;
}

function show(box, interactionId, found) {
  const detail = element("div", { class: "detail", "aria-live": "polite" }, element("p", { class: "quiet", words: "why.choose" }));
  const attention = element("div", { class: "attention" });
  const shown = found.tokens.slice(found.answer_start);
  const picked = (token) => tokenDetail(detail, token);
  const row = tokenRow(shown, "why.tokens", picked, (token) => showAttention(attention, interactionId, found, token));
  shown.forEach((token, place) => colour(row.children[place], token));
  box.replaceChildren(
    element("p", { class: "quiet small", words: "why.lead" }), legend(), row, detail, attention,
  );
}

// Tokens as buttons with one stop for the keyboard; arrows go on from there (ARIA: roving tabindex).
function tokenRow(tokens, label, look, choose) {
  const made = tokens.map((token, place) => {
    const one = element("button", { type: "button", class: "token", tabindex: place ? "-1" : "0" });
    one.append(...visible(token.text));
    one.addEventListener("mouseenter", () => look(token));
    one.addEventListener("focus", () => {
      made.forEach((other) => (other.tabIndex = other === one ? 0 : -1));
      look(token);
    });
    one.addEventListener("click", () => {
      made.forEach((other) => other.setAttribute("aria-pressed", String(other === one)));
      choose(token);
    });
    return one;
  });
  const row = element("p", { class: "tokens", role: "group", label }, ...made);
  row.addEventListener("keydown", (event) => {
    const at = made.indexOf(document.activeElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: made.length - 1 }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    made[Math.max(0, Math.min(made.length - 1, next))].focus();
  });
  return row;
}

// White space and parts of characters, so that they can be seen.
function visible(text) {
  if (text === "") return [element("span", { class: "faint" }, "◌")];
  return text.split(/(\n)/).filter(Boolean).map((part) => (part === "\n" ? element("span", { class: "faint" }, "↵") : part));
}

function spoken(text) {
  return text === "" ? words("why.partOfCharacter") : `“${text.replaceAll("\n", "↵")}”`;
}

function colour(button, token) {
  const share = token.probability;
  button.classList.add(share >= 0.5 ? "sure" : share >= 0.1 ? "likely" : share >= 0.01 ? "unlikely" : "rare");
  button.setAttribute("aria-label", `${spoken(token.text)} ${percent(share)}`);
}

function legend() {
  const steps = [["sure", "≥ 50 %"], ["likely", "10–50 %"], ["unlikely", "1–10 %"], ["rare", "< 1 %"]];
  return element(
    "ul", { class: "legend", label: "why.legend" },
    ...steps.map(([name, range]) => element("li", {}, element("span", { class: `token ${name}`, "aria-hidden": "true" }, "  "), range)),
  );
}

function tokenDetail(detail, token) {
  const most = token.alternatives[0]?.probability ?? 1;
  detail.replaceChildren(
    element("p", {}, element("strong", { class: "quoted" }, spoken(token.text)), ` ${percent(token.probability)}`),
    element(
      "ol", { class: "bars", label: "why.alternatives" },
      ...token.alternatives.map((one) => bar(spoken(one.text), one.probability / most, percent(one.probability), one.chosen)),
    ),
  );
}

async function showAttention(place, interactionId, found, token) {
  place.replaceChildren(element("p", { class: "quiet", words: "why.wait" }));
  let seen;
  try {
    seen = await ask("POST", "/v1/explain", { interaction_id: interactionId, token: token.place });
  } catch (error) {
    place.replaceChildren(element("p", { class: "problem", role: "alert" }, told(error)));
    return;
  }
  const before = found.tokens.slice(0, token.place);
  const texts = before.map((one) => {
    const made = element("span", { class: "seen" });
    made.append(...visible(one.text));
    return made;
  });
  const layer = chooser(seen.attention.length);
  const head = chooser(seen.attention[0].length);
  const most = element("p", { class: "quiet small", role: "status" });
  const draw = () => {
    const weights = mean(chosenHeads(seen.attention, layer.value, head.value));
    const highest = Math.max(...weights.slice(1), 1e-9); // the first token takes what is not needed
    texts.forEach((one, at) => {
      one.style.setProperty("--seen", `${Math.min(1, weights[at] / highest) * 100}%`);
      one.title = percent(weights[at]);
    });
    say(most, "text", "why.most", { tokens: likeliest(before, weights) });
  };
  layer.addEventListener("change", draw);
  head.addEventListener("change", draw);
  place.replaceChildren(
    element("h2", { words: "why.attention", values: { token: spoken(token.text) } }),
    element("p", { class: "choosers" }, labelled("why.layer", layer), labelled("why.head", head)),
    element("p", { class: "tokens read", role: "group", tabindex: "0", label: "why.attentionText" }, ...texts),
    most,
  );
  draw();
}

function chooser(count) {
  const options = Array.from({ length: count }, (_, at) => element("option", { value: String(at) }, String(at + 1)));
  return element("select", {}, element("option", { value: MEAN, words: "why.mean" }), ...options);
}

function labelled(words, field) {
  return element("label", {}, element("span", { words }), field);
}

function chosenHeads(attention, layer, head) {
  const layers = layer === MEAN ? attention : [attention[Number(layer)]];
  return layers.flatMap((heads) => (head === MEAN ? heads : [heads[Number(head)]]));
}

function mean(rows) {
  return rows[0].map((_, at) => rows.reduce((sum, row) => sum + row[at], 0) / rows.length);
}

function likeliest(tokens, weights) {
  const order = weights.map((weight, at) => [weight, at]).sort((a, b) => b[0] - a[0]);
  return order.slice(0, 4).map(([weight, at]) => `${spoken(tokens[at].text)} ${percent(weight)}`).join(", ");
}
