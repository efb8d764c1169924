// The page: signing in, its tabs, its language. What a tab shows is in a file of its own.

import { ask, onSignedOut, signIn, signOut, told, whoIsSignedIn } from "./ask.js";
import { announce, button, element } from "./elements.js";
import { chatPanel } from "./chat.js";
import { loopPanel } from "./loop.js";
import { taskPanel } from "./tasks.js";
import { preferred, say, speak, words } from "./words.js";

const main = document.getElementById("main");
const tabs = document.getElementById("tabs");
const chooser = document.getElementById("language");
const leave = document.getElementById("sign-out");

function showSignIn(reason = "") {
  tabs.hidden = true;
  leave.hidden = true;
  document.getElementById("model-name").textContent = "";
  const problem = element("p", { class: "problem", id: "problem", role: "alert" });
  if (reason) say(problem, "text", reason);
  const key = element("input", {
    type: "password", id: "key", autocomplete: "current-password", required: true,
    spellcheck: "false", placeholder: "nk-…", "aria-describedby": "problem key-help",
  });
  const enter = element("button", { type: "submit", class: "main", words: "signIn" });
  const form = element(
    "form", { class: "sign-in card" },
    element("h1", { words: "signIn.title" }),
    element("p", { class: "quiet", words: "signIn.lead" }),
    element("label", { for: "key", words: "signIn.key" }),
    key,
    element("p", { class: "quiet small", id: "key-help", words: "signIn.help" }),
    problem, enter,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    enter.disabled = true;
    problem.textContent = "";
    try {
      // Another tab may have signed in meanwhile.
      const before = await whoIsSignedIn();
      showPage(before.signed_in ? before : await signIn(key.value));
    } catch (error) {
      problem.textContent = error.status === 401 ? words("signIn.wrong") : told(error);
      key.focus();
      key.select();
    } finally {
      enter.disabled = false;
    }
  });
  main.replaceChildren(form);
  key.focus();
}

async function showPage(session) {
  const may = (right) => session.rights.includes(right);
  document.getElementById("model-name").textContent = session.model ?? "";
  leave.hidden = false;
  const found = [];
  if (session.model && may("use")) {
    found.push(["chat", { words: `tab.${session.speaks}` }, chatPanel(session)]);
  }
  if (may("use")) {
    for (const task of (await ask("GET", "/v1/tasks")).data) {
      found.push([`task-${task.id}`, {}, taskPanel(session, task), task.id]);
    }
  }
  if (session.loop && may("read")) found.push(["loop", { words: "tab.loop" }, loopPanel(session)]);
  showTabs(found);
}

function showTabs(found) {
  main.replaceChildren(...found.map(([, , panel]) => panel.element));
  if (!found.length) main.replaceChildren(element("p", { class: "card", words: "nothingToShow" }));
  const made = found.map(([id, attributes, panel, name], place) => {
    panel.element.id = `panel-${id}`;
    panel.element.setAttribute("role", "tabpanel");
    panel.element.setAttribute("aria-labelledby", `tab-${id}`);
    const tab = element("button", {
      type: "button", role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, ...attributes,
      onclick: () => choose(place),
    });
    if (name) tab.textContent = name;
    return tab;
  });
  const choose = (place) => {
    made.forEach((tab, other) => {
      tab.setAttribute("aria-selected", String(other === place));
      tab.tabIndex = other === place ? 0 : -1;
      found[other][2].element.hidden = other !== place;
    });
    made[place].scrollIntoView({ block: "nearest", inline: "nearest" });
    found[place][2].shown();
  };
  tabs.replaceChildren(...made);
  tabs.hidden = made.length < 1;
  say(tabs, "label", "tabs");
  tabs.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const at = made.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = (at + step + made.length) % made.length;
    choose(next);
    made[next].focus();
  };
  if (made.length) choose(0);
}

leave.addEventListener("click", async () => {
  await signOut().catch(() => {});
  showSignIn();
});
chooser.addEventListener("change", () => speak(chooser.value, true));
onSignedOut(() => showSignIn("signIn.ended"));

speak(preferred());
chooser.value = document.documentElement.lang;
try {
  const session = await whoIsSignedIn();
  if (session.signed_in) await showPage(session);
  else showSignIn();
} catch (error) {
  main.replaceChildren(element("p", { class: "problem card", role: "alert" }, told(error)), button("again", () => location.reload()));
  announce(told(error));
}
