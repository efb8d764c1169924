// An application of the recipe: a text in; labels with their probabilities, or marked spans, out.

import { answerTools } from "./answers.js";
import { ask, told } from "./ask.js";
import { announce, bar, button, element, percent, readyToWrite } from "./elements.js";
import { say, words } from "./words.js";

const SPAN_COLOURS = 6;

export function taskPanel(session, task) {
  const field = element("textarea", { rows: "4", enterkeyhint: "send", hint: `task.${task.kind}.hint`, label: `task.${task.kind}.hint`, maxlength: "100000", required: true });
  const send = element("button", { type: "submit", class: "main", words: "task.ask" });
  const problem = element("p", { class: "problem", role: "alert" });
  const answers = element("div", { class: "log" });
  const form = element("form", { class: "card ask" }, field, element("p", { class: "buttons" }, send), problem);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    problem.textContent = "";
    try {
      const body = await ask("POST", `/v1/tasks/${encodeURIComponent(task.id)}`, { input: [field.value] });
      answers.prepend(answered(session, task, field.value, body));
      announce(words("task.answered", { text: summary(body.data[0]) }));
    } catch (error) {
      problem.textContent = told(error);
    }
    send.disabled = false;
  });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  const lead = element(
    "p", { class: "quiet" }, element("span", { words: `task.${task.kind}.lead`, values: { labels: task.labels.length } }), " ",
    element("span", { class: "nowrap" }, element("span", { words: "task.way" }), ` ${task.way}`),
  );
  return {
    element: element("section", { class: "task" }, element("h1", {}, task.id), lead, form, answers),
    shown: () => readyToWrite(field),
  };
}

function summary(row) {
  if (row.spans) return row.spans.map((one) => `${one.text}: ${one.tag}`).join(", ") || words("task.noSpans");
  return row.labels.join(", ") || words("task.abstained");
}

function answered(session, task, text, body) {
  const row = body.data[0];
  const answer = { id: row.id, weightHash: body.weight_hash, facts: [] };
  const shown = row.spans ? spansOf(task, text, row.spans) : labelsOf(row);
  const corrects = row.spans ? () => spansCorrected(task, text, row.spans) : () => labelCorrected(task, row);
  return element(
    "article", { class: "card task-answer", label: "task.answer" },
    row.spans ? null : element("p", { class: "text given", tabindex: "0" }, text),
    shown, answerTools(session, answer, { corrects }),
  );
}

function labelsOf(row) {
  const chosen = element("p", { class: "chosen" });
  if (row.labels.length) chosen.textContent = row.labels.join(", ");
  else say(chosen, "text", "task.abstained");
  const rows = Object.entries(row.probabilities);
  return element(
    "div", {}, chosen,
    element("ol", { class: "bars", label: "task.probabilities" }, ...rows.map(([name, share]) => bar(name, share, percent(share), row.labels.includes(name)))),
  );
}

function spansOf(task, text, spans) {
  const marked = element("p", { class: "text spans" });
  const characters = [...text]; // places count characters, not the halves that JavaScript has
  let at = 0;
  for (const one of [...spans].sort((a, b) => a.start - b.start)) {
    if (one.start < at) continue;
    marked.append(characters.slice(at, one.start).join(""));
    marked.append(element("mark", { class: `span-${tagsOf(task).indexOf(one.tag) % SPAN_COLOURS}` }, characters.slice(one.start, one.end).join(""), element("small", {}, one.tag)));
    at = one.end;
  }
  marked.append(characters.slice(at).join(""));
  return spans.length ? marked : element("div", {}, marked, element("p", { class: "quiet", words: "task.noSpans" }));
}

// The tags of an application's BIO labels, without O.
function tagsOf(task) {
  return [...new Set(task.labels.filter((one) => one !== "O").map((one) => one.replace(/^[BI]-/, "")))];
}

function labelCorrected(task, row) {
  const options = task.labels.map((one) => element("option", { value: one, selected: row.labels.includes(one) }, one));
  const field = element("select", { required: true, multiple: task.many, size: task.many ? Math.min(8, options.length) : null }, ...options);
  const chosen = () => [...field.selectedOptions].map((one) => one.value);
  const read = () => (task.many ? JSON.stringify(chosen()) : field.value);
  return { kind: "label", field, read, words: task.many ? "correct.labels" : "correct.label" };
}

// The spans of an answer as a list: each can be taken out, and words of the text be put in.
function spansCorrected(task, text, found) {
  const characters = [...text];
  let spans = found.map(({ start, end, tag }) => ({ start, end, tag }));
  const list = element("ul", { class: "span-list" });
  const what = element("input", { type: "text", hint: "span.words", label: "span.words", value: selectedIn(text) });
  const tag = element("select", { label: "span.tag" }, ...tagsOf(task).map((one) => element("option", { value: one }, one)));
  const problem = element("p", { class: "problem", role: "alert" });
  const add = () => {
    const start = placeOf(characters, [...what.value], spans);
    problem.textContent = start < 0 ? words("span.notThere") : "";
    if (start < 0) return;
    spans.push({ start, end: start + [...what.value].length, tag: tag.value });
    what.value = "";
    draw();
  };
  what.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    add();
  });
  const draw = () => {
    spans.sort((a, b) => a.start - b.start);
    list.replaceChildren(
      ...spans.map((one) => {
        const shown = characters.slice(one.start, one.end).join("");
        const out = () => {
          spans = spans.filter((other) => other !== one);
          draw();
          what.focus();
        };
        return element("li", {}, `${shown} `, element("small", {}, one.tag), " ", button("span.out", out, { class: "quiet" }));
      }),
    );
  };
  draw();
  const field = element("span", { class: "span-editor" }, list, element("span", { class: "span-add" }, what, tag, button("span.add", add)), problem);
  return { kind: "correction", field, read: () => JSON.stringify(spans), words: "correct.spans" };
}

function selectedIn(text) {
  const selected = String(getSelection()).trim();
  return selected && text.includes(selected) ? selected : "";
}

// Where the wanted characters stand first outside every span; -1 if nowhere.
function placeOf(characters, wanted, spans) {
  if (!wanted.length) return -1;
  for (let at = 0; at + wanted.length <= characters.length; at += 1) {
    const free = spans.every((one) => at >= one.end || at + wanted.length <= one.start);
    if (free && wanted.every((one, place) => characters[at + place] === one)) return at;
  }
  return -1;
}
