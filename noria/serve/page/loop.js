// The loop: what is live, what wants to be, what the gate said, what people said; and the buttons
// that ask for a promotion, a rollback or a new turn.

import { ask, told } from "./ask.js";
import { announce, button, element, short } from "./elements.js";
import { cards } from "./cards.js";
import { date, named, words } from "./words.js";

const REFRESH_MS = 5000;

export function loopPanel(session) {
  const place = element("div", { class: "loop" }, element("p", { class: "quiet", words: "wait" }));
  const problem = element("p", { class: "problem", role: "alert" });
  const panel = element("section", {}, element("h1", { words: "loop.title" }), element("p", { class: "quiet", words: "loop.lead" }), problem, place, cards());
  let last = "";
  let timer = 0;

  const look = async () => {
    clearTimeout(timer);
    if (!panel.isConnected || panel.hidden) return;
    if (document.hidden) {
      timer = setTimeout(look, REFRESH_MS); // nobody looks: nothing is asked
      return;
    }
    try {
      const found = await ask("GET", "/v1/loop");
      problem.textContent = "";
      if (JSON.stringify(found) !== last && !panel.querySelector("dialog[open]")) {
        last = JSON.stringify(found);
        keeping(place, () => place.replaceChildren(...found.loops.map((one) => loopOf(session, one, look))));
      }
    } catch (error) {
      problem.textContent = told(error);
    }
    timer = setTimeout(look, REFRESH_MS);
  };
  document.addEventListener("language", () => {
    last = ""; // texts that were put together are written anew
    look();
  });
  return { element: panel, shown: look };
}

// Draw anew; what was open stays open, and what had the focus has it again.
function keeping(place, draw) {
  const open = [...place.querySelectorAll("details")].map((one) => one.open);
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.words : undefined;
  draw();
  [...place.querySelectorAll("details")].forEach((one, at) => (one.open = open[at] ?? false));
  if (focused) place.querySelector(`[data-words="${focused}"]`)?.focus();
}

function loopOf(session, loop, look) {
  return element(
    "section", { class: "one-loop", "aria-labelledby": `loop-${loop.name}` },
    element("h2", { id: `loop-${loop.name}` }, loop.name),
    element("div", { class: "tiles" }, liveTile(loop), feedbackTile(loop), askTile(session, loop, look)),
    verdictOf(loop), scoresOf(loop), historyOf(loop),
  );
}

function tile(title, ...children) {
  return element("section", { class: "card tile" }, element("h3", { words: title }), ...children);
}

function version(one) {
  return element("span", {}, `#${one.number} `, short(one.weight_hash));
}

function liveTile({ live }) {
  if (!live) return tile("loop.live", element("p", { words: "loop.none" }));
  return tile("loop.live", element("p", { class: "big" }, version(live)), element("p", { class: "quiet small" }, `${words(`origin.${known(live.origin)}`)} · ${date(live.live_since)}`));
}

function known(origin) {
  if (origin.startsWith("int8")) return "int8"; // and int8-dynamic
  return ["challenger", "control"].includes(origin) ? origin : "trained";
}

function feedbackTile({ feedback }) {
  const kinds = Object.entries(feedback.waiting);
  const total = kinds.reduce((sum, [, count]) => sum + count, 0);
  return tile(
    "loop.feedback",
    element("p", { class: "big" }, String(total)),
    element("p", { class: "quiet small" }, kinds.map(([kind, count]) => `${named("kind", kind)} ${count}`).join(" · ") || words("loop.noFeedback")),
  );
}

function askTile(session, loop, look) {
  const may = session.rights.includes("promote");
  const buttons = element("p", { class: "buttons" });
  if (may) {
    const challenger = loop.challenger;
    if (challenger && challenger.weight_hash !== loop.live?.weight_hash) {
      buttons.append(asking("promote", loop, challenger, look));
    }
    if (loop.previous) buttons.append(asking("rollback", loop, loop.previous, look));
    if (loop.live) buttons.append(asking("improve", loop, loop.live, look));
  }
  const open = loop.requests.filter((one) => one.closed_at === null);
  const done = loop.requests.filter((one) => one.closed_at !== null).slice(-1);
  const rows = [...done, ...open].map((one) =>
    element("li", {}, named("request", one.action), " ", one.weight_hash ? short(one.weight_hash) : "", ` · ${one.closed_at === null ? words("request.open") : one.outcome}`),
  );
  return tile(
    "loop.change",
    loop.holds.length ? element("p", {}, ...loop.holds.map((one) => element("span", { class: "chip bad", words: `hold.${one}` }))) : null,
    may ? buttons : element("p", { class: "quiet", words: "loop.noRight" }),
    rows.length ? element("ul", { class: "small plain-list" }, ...rows) : null,
  );
}

// A button that asks once more before it changes what every user is answered with.
function asking(action, loop, target, look) {
  const values = { version: `#${target.number} ${target.weight_hash.slice(0, 12)}` };
  const reason = element("input", { type: "text", maxlength: "500", required: true, value: action === "improve" ? words("request.improve") : "" });
  const problem = element("p", { class: "problem", role: "alert" });
  const yes = element("button", { type: "submit", class: "main", words: `request.${action}` });
  const form = element(
    "form", {},
    element("p", { words: `sure.${action}`, values }),
    action === "improve" ? null : element("label", {}, element("span", { words: "sure.reason" }), reason),
    problem,
    element("p", { class: "buttons" }, yes, button("cancel", () => dialog.close(), { class: "quiet" })),
  );
  const dialog = element("dialog", { label: `request.${action}` }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    yes.disabled = true;
    try {
      const body = { name: loop.name, action, reason: reason.value };
      if (action === "promote") body.weight_hash = target.weight_hash;
      await ask("POST", "/v1/loop/requests", body);
      dialog.close();
      announce(words("request.sent"));
      await look();
    } catch (error) {
      problem.textContent = told(error);
    }
    yes.disabled = false;
  });
  const opener = button(`request.${action}`, () => dialog.showModal(), { class: action === "promote" ? "main" : "" });
  return element("span", {}, opener, dialog);
}

function verdictOf({ verdict, challenger }) {
  if (!verdict) return element("section", { class: "card" }, element("h3", { words: "loop.verdict" }), element("p", { words: "loop.noVerdict" }));
  const decision = verdict.promote ? "yes" : verdict.decision === "not enough evidence" ? "undecided" : "no";
  const kinds = { yes: "good", no: "bad", undecided: "" };
  const said = element("span", { class: `chip verdict-chip ${kinds[decision]}`, words: `verdict.${decision}` });
  return element(
    "section", { class: "card" },
    element("h3", { words: "loop.verdict" }),
    element("p", {}, said, " ", challenger ? version(challenger) : "", " · ", date(verdict.at)),
    element("ul", {}, ...verdict.reasons.map((one) => element("li", {}, one))),
    table(
      "loop.requirements", ["column.requirement", "column.difference", "column.bound", "column.holds"],
      verdict.requirements.map((one) => [
        one.requirement, interval(one.difference), `${one.higher_is_better ? ">" : "<"} ${number(one.bound)}`,
        words(one.passed ? "holds.yes" : "holds.no"),
      ]),
    ),
    element("p", { class: "quiet small", words: "verdict.note", values: { confidence: ((verdict.confidence ?? 0.95) * 100).toFixed(1), read: verdict.read_number ?? 1 } }),
  );
}

function number(value) {
  return value === null ? "∞" : value.toFixed(3).replace("-", "−");
}

function interval({ value, low, high }) {
  return `${number(value)} (${low === null ? "−∞" : number(low)} … ${number(high)})`;
}

function scoresOf({ scores }) {
  if (!scores.length) return "";
  const roles = ["champion", "challenger", "control"];
  const highest = Math.max(...scores.flatMap((row) => roles.map((role) => row[role]?.high ?? 0)));
  const rows = scores.map((row) => [
    row.metric,
    ...roles.map((role) => {
      const one = row[role];
      if (!one) return "–";
      return element("span", { class: "measured" }, element("span", {}, number(one.value)), picture(one, highest), element("span", { class: "quiet small" }, `${number(one.low)} … ${number(one.high)}`));
    }),
  ]);
  return element(
    "section", { class: "card" }, element("h3", { words: "loop.scores" }),
    element("p", { class: "quiet small", words: "loop.scoresLead" }),
    table("loop.scores", ["column.metric", ...roles.map((role) => `role.${role}`)], rows),
  );
}

// An interval as a line on one scale for the whole table.
function picture({ value, low, high }, highest) {
  const line = element("span", { class: "whisker" });
  const dot = element("span", { class: "dot" });
  line.style.left = `${(low / highest) * 100}%`;
  line.style.width = `${((high - low) / highest) * 100}%`;
  dot.style.left = `${(value / highest) * 100}%`;
  return element("span", { class: "interval", "aria-hidden": "true" }, line, dot);
}

function historyOf({ history }) {
  const rows = history.map((one) => [element("span", { class: "nowrap" }, date(one.at)), named("action", one.action), short(one.weight_hash), one.actor, one.reason]);
  return element(
    "details", { class: "card" }, element("summary", { words: "loop.history" }),
    table("loop.history", ["column.when", "column.what", "column.weights", "column.who", "column.why"], rows),
  );
}

export function table(label, columns, rows) {
  const head = element("tr", {}, ...columns.map((one) => element("th", { scope: "col", words: one })));
  const body = rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))));
  return element("div", { class: "scroll", tabindex: "0", role: "region", label }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}
