// What the page asks of its server: JSON, a stream of events, who is signed in.

import { words } from "./words.js";

let csrf = "";
let whenSignedOut = () => {};

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// What to tell a person about it; any other error is a mistake in the page, and is thrown again.
export function told(error) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 0) return words(error.code === "unreachable" ? "error.unreachable" : "error.broken");
  if (error.status === 429) return words("error.busy");
  if (error.code === "no_live_model") return words("error.nothingLive");
  return words("error.refused", { message: error.message });
}

export function onSignedOut(then) {
  whenSignedOut = then;
}

async function send(method, path, body, signal) {
  const headers = { "X-Noria-CSRF": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "");
  }
  if (answer.ok) return answer;
  const found = (await answer.json().catch(() => ({}))).error ?? {};
  if (answer.status === 401 && path !== "/session") whenSignedOut();
  throw new Refused(answer.status, found.code ?? "", found.message ?? "");
}

export async function ask(method, path, body) {
  return (await send(method, path, body)).json();
}

// Every event of a stream, as it comes. Throws Refused, or AbortError when the signal stops it.
export async function* stream(path, body, signal) {
  const answer = await send("POST", path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Refused(0, "unreachable", ""); // it ended without its end
    const lines = (rest + value).split("\n\n");
    rest = lines.pop();
    for (const line of lines) {
      const data = line.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Refused(0, event.error.code ?? "", event.error.message ?? "");
      yield event;
    }
  }
}

async function session(method, body) {
  const found = await ask(method, "/session", body);
  csrf = found.csrf ?? "";
  return found;
}

export const whoIsSignedIn = () => session("GET");
export const signIn = (key) => session("POST", { key });
export const signOut = () => session("DELETE");

// An answer that was stopped is on disk a moment later than its reader has left.
export async function feedback(interactionId, kind, value) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask("POST", "/v1/feedback", { interaction_id: interactionId, kind, value });
    } catch (error) {
      if (error.status !== 404 || tries === 4) throw error;
      await new Promise((then) => setTimeout(then, 300 * tries));
    }
  }
}
