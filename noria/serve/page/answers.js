// What can be said of an answer: thumbs, a correction or a label, a comment; and what it is.

import { feedback, told } from "./ask.js";
import { announce, button, element, thumb } from "./elements.js";
import { say, words } from "./words.js";

const OUTCOME_MS = 2500;

// The tools under one answer. `answer` has id, weightHash, text and facts; `more` are the buttons
// of this kind of answer; `corrects` makes the form of a correction: {kind, field, read}.
export function answerTools(session, answer, { more = [], corrects }) {
  const noted = element("p", { class: "noted", role: "status" });
  const place = element("div", { class: "form-place" });
  const mayRate = session.rights.includes("rate");
  const tools = element("div", { class: "tools answer-tools", role: "group", label: "answer.tools" });

  const said = async (kind, value, key) => {
    try {
      await feedback(answer.id, kind, value);
      noted.className = "noted";
      noted.textContent = words(key);
      return true;
    } catch (error) {
      noted.className = "noted problem";
      noted.textContent = told(error);
      return false;
    }
  };
  const opened = (which, make) => openForm(place, which, make);

  if (mayRate) {
    const thumbs = ["up", "down"].map((direction) =>
      thumb(direction, async () => {
        if (await said("thumb", direction, `noted.${direction}`)) {
          thumbs.forEach((one, at) => one.setAttribute("aria-pressed", String(["up", "down"][at] === direction)));
        }
      }),
    );
    tools.append(...thumbs);
    const correct = button("correct", () =>
      opened(correct, () => {
        const { kind, field, read, words: title } = corrects();
        return form(title, field, async () => said(kind, read(), "noted.correction"));
      }),
    );
    const comment = button("comment", () =>
      opened(comment, () => {
        const field = element("textarea", { rows: "2", maxlength: "4000", required: true });
        return form("comment.title", field, async () => said("comment", field.value, "noted.comment"));
      }),
    );
    for (const one of [correct, comment]) one.setAttribute("aria-expanded", "false");
    tools.append(correct, comment);
  }
  const details = button("details", () => opened(details, () => detailsOf(answer)));
  details.setAttribute("aria-expanded", "false");
  tools.append(...more, details);
  return element("div", { class: "after-answer" }, tools, noted, place);
}

// One form at a time under an answer; its button opens it, and closes it again.
export function openForm(place, opener, make) {
  const open = opener.getAttribute("aria-expanded") === "true";
  for (const one of opener.parentElement.querySelectorAll("[aria-expanded]")) one.setAttribute("aria-expanded", "false");
  place.replaceChildren();
  if (open) return;
  const close = () => {
    opener.setAttribute("aria-expanded", "false");
    place.replaceChildren();
    opener.focus();
  };
  const made = make(close);
  opener.setAttribute("aria-expanded", "true");
  made.addEventListener("keydown", (event) => event.key === "Escape" && close());
  made.addEventListener("done", close);
  place.replaceChildren(made);
  (made.querySelector("textarea, select, input, [tabindex='0']") ?? made).focus();
}

function form(title, field, submit) {
  const send = element("button", { type: "submit", class: "main", words: "send" });
  const made = element(
    "form", { class: "say" },
    field.localName === "span"
      ? element("fieldset", {}, element("legend", { words: title }), field)
      : element("label", {}, element("span", { words: title }), field),
    element("p", { class: "buttons" }, send, button("cancel", () => made.dispatchEvent(new Event("done")), { class: "quiet" })),
  );
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    if (await submit()) made.dispatchEvent(new Event("done"));
    send.disabled = false;
  });
  return made;
}

function detailsOf(answer) {
  const rows = [
    ["details.id", element("code", {}, answer.id)],
    ["details.weights", element("code", {}, answer.weightHash)],
    ...answer.facts.map(([key, values]) => [key, element("span", { words: `${key}.value`, values })]),
  ];
  return element(
    "dl", { class: "details", tabindex: "-1" },
    ...rows.map(([key, value]) => element("div", {}, element("dt", { words: key }), element("dd", {}, value))),
  );
}

// The text of an answer on the clipboard; `copied` is called when it is there. What became of it
// stands on the button for a moment, and is said: there is no clipboard without TLS or loopback.
export function copyButton(text, copied) {
  const made = button("copy", async () => {
    const there = await writeToClipboard(text);
    const outcome = there ? "copied" : "notCopied";
    announce(words(outcome));
    say(made, "text", outcome);
    setTimeout(() => say(made, "text", "copy"), OUTCOME_MS);
    if (there) copied();
  });
  return made;
}

async function writeToClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

