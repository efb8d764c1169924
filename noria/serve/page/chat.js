// Talking with the live model: a chat, or a text that it goes on writing.

import { answerTools, copyButton, openForm } from "./answers.js";
import { feedback, stream, told } from "./ask.js";
import { announce, button, element, readyToWrite } from "./elements.js";
import { explanation } from "./explain.js";
import { named, say, words } from "./words.js";

const MAX_TOKENS = { chat: 300, completion: 80 };

export function chatPanel(session) {
  const speaks = session.speaks;
  const turns = []; // {asked, answer}: what was said, for the model to read again in a chat
  const log = element("div", { class: "log" });
  const empty = element(
    "div", { class: "empty" },
    element("h2", { words: `${speaks}.title` }), element("p", { class: "quiet", words: `${speaks}.lead` }),
  );
  const field = element("textarea", { id: "asked", rows: "2", enterkeyhint: "send", hint: `${speaks}.hint`, label: `${speaks}.hint`, maxlength: "200000" });
  const send = button("send", () => begin(), { class: "main" });
  const stop = button("stop", () => stopping?.abort(), { hidden: true });
  const fresh = button("fresh", () => restart(), { class: "quiet" });
  const settings = settingsOf(speaks);
  const composer = element(
    "form", { class: "composer" }, field,
    element("div", { class: "tools" }, settings.element, fresh, stop, send),
  );
  const panel = element("section", { class: "chat" }, element("h1", { class: "unseen", words: `tab.${speaks}` }), empty, log, composer);
  let stopping = null;

  composer.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    begin();
  });

  function begin() {
    const asked = field.value;
    if (!asked.trim() || stopping) return;
    field.value = "";
    empty.hidden = true;
    const turn = { asked, answer: "" };
    turn.element = element(
      "article", { class: "turn", label: "turn" },
      element("div", { class: "asked" }, element("p", { class: "unseen", words: "you" }), element("p", { class: "text" }, asked)),
    );
    log.append(turn.element);
    turns.push(turn);
    write(turn);
  }

  function restart() {
    stopping?.abort();
    turns.length = 0;
    log.replaceChildren();
    empty.hidden = false;
    field.focus();
  }

  function bodyOf(turn) {
    const common = {
      model: "live", stream: true, stream_options: { include_usage: true },
      max_tokens: settings.maxTokens(), temperature: settings.temperature(),
    };
    if (speaks === "completion") return ["/v1/completions", { ...common, prompt: turn.asked }];
    const messages = [];
    for (const one of turns.slice(0, turns.indexOf(turn) + 1)) {
      messages.push({ role: "user", content: one.asked });
      if (one !== turn) messages.push({ role: "assistant", content: one.answer });
    }
    return ["/v1/chat/completions", { ...common, messages }];
  }

  // Ask for the answer of a turn and write it as it comes; what was there before is replaced.
  async function write(turn) {
    for (const one of log.querySelectorAll(".again")) one.remove(); // only the last can be had anew
    turn.shown?.remove();
    const text = element("p", { class: "text", "aria-busy": "true" });
    turn.shown = element("div", { class: "answer" }, element("p", { class: "unseen", words: "model" }), text);
    turn.element.append(turn.shown);
    turn.answer = "";
    stopping = new AbortController();
    busy(true);
    announce(words("writing"));
    const answer = { id: "", weightHash: "", facts: [] };
    let problem = "";
    try {
      for await (const event of stream(...bodyOf(turn), stopping.signal)) {
        read(event, answer, turn);
        text.textContent = turn.answer;
        keepInSight(turn.shown);
      }
    } catch (error) {
      if (error.name === "AbortError") answer.facts.push(["details.finish", { finish: words("finish.stopped") }]);
      else problem = told(error);
    }
    stopping = null;
    busy(false);
    text.removeAttribute("aria-busy");
    if (problem) turn.shown.append(element("p", { class: "problem", role: "alert" }, problem));
    else announce(words("written", { text: turn.answer }));
    text.replaceChildren(...formatted(turn.answer));
    if (!turn.answer && !problem) say(text, "text", "noText");
    if (answer.id) turn.shown.append(toolsOf(turn, answer));
    else turn.shown.append(againButton(turn, null));
    keepInSight(turn.shown);
    if (document.activeElement === document.body || document.activeElement === stop) readyToWrite(field);
  }

  function toolsOf(turn, answer) {
    const written = turn.answer;
    const place = element("div", { class: "why-place" });
    const why = button("why", () => openForm(place, why, () => explanation(answer.id)));
    why.setAttribute("aria-expanded", "false");
    const corrects = () => {
      const field = element("textarea", { rows: "3", value: written });
      return { kind: "correction", field, read: () => field.value, words: `correct.${speaks}` };
    };
    const copied = () => implicit(answer.id, "copy");
    const tools = answerTools(session, answer, {
      corrects, more: [copyButton(written, copied), againButton(turn, answer.id)],
    });
    // Beside the other buttons, but in a place of its own: it may stay open while a form is filled.
    tools.querySelector(".answer-tools").append(element("span", { class: "own" }, why));
    tools.append(place);
    return tools;
  }

  function againButton(turn, interactionId) {
    return button("regenerate", () => {
      if (stopping) return;
      if (interactionId) implicit(interactionId, "regenerate");
      write(turn);
    }, { class: "again" });
  }

  // What a person does says something of an answer too; nobody waits for it.
  function implicit(interactionId, kind) {
    if (session.rights.includes("rate")) feedback(interactionId, kind, "").catch(() => {});
  }

  function busy(is) {
    send.hidden = is;
    stop.hidden = !is;
  }

  return { element: panel, shown: () => readyToWrite(field) };
}

function read(event, answer, turn) {
  if (event.id) [answer.id, answer.weightHash] = [event.id, event.weight_hash];
  for (const choice of event.choices) {
    turn.answer += choice.delta?.content ?? choice.text ?? "";
    if (choice.finish_reason) answer.facts.push(["details.finish", { finish: named("finish", choice.finish_reason) }]);
  }
  if (event.usage) {
    const { prompt_tokens: read, completion_tokens: written } = event.usage;
    answer.facts.push(["details.tokens", { read, written }]);
  }
}

// Code between lines of ``` in a box of its own; every other character as the model wrote it.
function formatted(text) {
  return text.split(/\n*```[\w+-]*\n([\s\S]*?)\n?```\n*/).map((part, at) => (at % 2 ? element("code", { class: "block" }, part) : part));
}

// Scroll on with the text, unless the reader has scrolled up.
function keepInSight(shown) {
  const { scrollHeight, scrollTop, clientHeight } = document.documentElement;
  if (scrollHeight - scrollTop - clientHeight < 240) shown.scrollIntoView({ block: "end" });
}

function settingsOf(speaks) {
  const most = element("input", { type: "number", min: "1", max: "4000", step: "1", value: String(MAX_TOKENS[speaks]) });
  const warmth = element("input", { type: "number", min: "0", max: "2", step: "0.1", value: "0.7" });
  const within = (field, usual) => (field.checkValidity() && field.value !== "" ? Number(field.value) : usual);
  return {
    element: element(
      "details", { class: "settings" }, element("summary", { words: "settings" }),
      element("div", { class: "sheet" },
        element("label", {}, element("span", { words: "settings.length" }), most),
        element("label", {}, element("span", { words: "settings.temperature" }), warmth),
      ),
    ),
    maxTokens: () => within(most, MAX_TOKENS[speaks]),
    temperature: () => within(warmth, 0.7),
  };
}
