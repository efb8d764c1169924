"""A server of its own process on loopback, and the simulated users who talk to it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact
from noria.errors import InputError, NoriaError
from noria.improve.simulate import (
    NUM_TEST_PASSAGES,
    Asked,
    Passage,
    ask,
    ask_and_correct,
    chat_passages,
    passages,
    placebo,
)
from noria.recipe import TENANT
from noria.records import Message, Source, content_text, text_content, write_records
from noria.runtime import child_process_ids, peak_memory_bytes
from noria.stages.reading import clean_chats, clean_documents
from noria.stages.stage import Facts, plain, run_stage
from noria.stages.text import acting_replacements
from noria.workspace import Workspace

READY_WITHIN_S = 120.0
SWAP_WITHIN_S = 60.0
MIN_TEST_PASSAGES = 10  # left over for what no gate reads
KEEPING = ("database", "keep_days")  # where the answers are kept changes none of them


class LocalServer:
    """`noria serve` of this workspace, started when first asked for, ended with this process.

    It has a key of its own, revoked at the end. The server holds the other end of a pipe: if
    this process is killed, the pipe closes and the server stops.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._process: subprocess.Popen[bytes] | None = None
        self._log = workspace.root / "server.log"
        self._key_id = ""
        self.key = ""
        self.url = ""

    def start(self) -> None:
        """Start the server unless it runs; returns when it answers."""
        if self._process is not None:
            return
        if not self.key:
            created = self._workspace.keys.create(TENANT, ("use", "rate"))
            self._key_id, self.key = created.key_id, created.secret
        command = [sys.executable, "-m", "noria", "serve", str(self._workspace.recipe_path)]
        command += ["--store", str(self._workspace.root), "--port", "0", "--host", "127.0.0.1"]
        command += ["--stop-with-stdin", "--json"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            self.url = json.loads(line)["url"]
        except (ValueError, KeyError) as error:
            tail = self._log.read_text(encoding="utf-8", errors="replace")[-500:]
            raise NoriaError(f"the server did not start: {tail.strip() or line!r}") from error

    @property
    def running(self) -> bool:
        """Whether it was started."""
        return self._process is not None

    def peak_memory_bytes(self) -> int:
        """The most memory that server and worker have held (0 where the system does not tell)."""
        if self._process is None:
            return 0
        processes = [self._process.pid, *child_process_ids(self._process.pid)]
        return sum(map(peak_memory_bytes, processes))

    def __enter__(self) -> LocalServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        if self.key:
            self._workspace.keys.revoke(TENANT, self._key_id)

    def stop(self) -> None:
        """End the server if it runs; it can be started again."""
        if self._process is None:
            return
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process = None


@dataclass(frozen=True)
class Conversation:
    """The simulated users' artifact, and what was said in it."""

    artifact: Artifact
    asked: tuple[Asked, ...]

    @property
    def interaction_ids(self) -> set[str]:
        """The interactions that the corrections belong to."""
        return {one.interaction_id for one in self.asked}


def simulate_users(workspace: Workspace, champion: Artifact, server: LocalServer) -> Conversation:
    """Ask the served champion with real passages, and correct each answer with the real text."""
    recipe = workspace.recipe
    workspace.watcher.begin("feedback")
    found, digest = _simulated(workspace)
    wanted = recipe.feedback.requests
    chosen, unread = found[:wanted], found[wanted : wanted + NUM_TEST_PASSAGES]
    if recipe.feedback.placebo:
        chosen = placebo(chosen, recipe.seed)
    champion_hash = champion.facts["weight_hash"]

    def make(folder: Path) -> Facts:
        started_at = time.monotonic()
        _make_live(workspace, champion_hash)
        server.start()
        asked = ask_and_correct(
            server.url,
            server.key,
            chosen,
            champion_hash[:16],
            lambda done, total: workspace.watcher.progress("asked and corrected", done, total),
        )
        hashes = {one.weight_hash for one in asked}
        if hashes != {champion_hash}:
            raise NoriaError(f"answers came from weights {hashes}", f"only {champion_hash}")
        rows = [_asked_to_json(one) for one in asked]
        (folder / "asked.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        write_records(folder / "test.jsonl", (passage.as_record() for passage in unread))
        return {
            "num_requests": len(asked),
            "num_test": len(unread),
            "weight_hash": champion_hash,
            "requests_per_s": round(len(asked) / (time.monotonic() - started_at), 2),
            "server_peak_memory_bytes": server.peak_memory_bytes(),
        }

    artifact = run_stage(
        workspace,
        "feedback",
        make,
        settings={
            **{k: v for k, v in plain(recipe.feedback).items() if k not in KEEPING},
            "seed": recipe.seed,
            **acting_replacements(recipe.corpus, personal=True),
        },
        inputs={"champion": champion.key, "passages": digest},
        result=lambda facts: (
            f"{facts['num_requests']} answers over HTTP, each corrected by a simulated user "
            f"({'placebo: shuffled letters' if recipe.feedback.placebo else 'held-back real text'})"
        ),
    )
    rows = json.loads((artifact.path / "asked.json").read_text(encoding="utf-8"))
    return Conversation(artifact, tuple(_asked_from_json(row) for row in rows))


def _simulated(workspace: Workspace) -> tuple[list[Passage], str]:
    """What the simulated users say, in order, and the digest of the files it is from."""
    recipe = workspace.recipe
    if recipe.feedback.simulate_chats:
        chats, digest = clean_chats(workspace, recipe.feedback.simulate_chats)
        found = chat_passages(chats, recipe.seed)
        kind = "feedback.simulate_chats has {} different chats that end with an answer"
    else:
        documents, digest = clean_documents(workspace, recipe.feedback.simulate)
        found = passages(documents, recipe.seed)
        kind = "feedback.simulate has {} passages of 320 characters or more"
    wanted = recipe.feedback.requests
    if len(found) < wanted + MIN_TEST_PASSAGES:
        raise InputError(
            kind.format(len(found)),
            f"at least {wanted + MIN_TEST_PASSAGES} for feedback.requests = {wanted}",
            "add text or lower feedback.requests",
        )
    return found, digest


def _make_live(workspace: Workspace, weight_hash: str) -> None:
    """A simulated loop that starts again starts from the base, whatever was promoted before."""
    registry, name = workspace.registry, workspace.recipe.name
    live = registry.live(TENANT, name)
    if live is None or live.weight_hash != weight_hash:
        reason = "the simulated loop starts again from the base"
        registry.promote(TENANT, name, weight_hash, "noria run", reason, automatic=True)


def _asked_to_json(asked: Asked) -> dict[str, Any]:
    return {
        "prompt": asked.passage.prompt,
        "turns": [[one.role, content_text(one.content)] for one in asked.passage.turns],
        "correction": asked.passage.correction,
        "file": asked.passage.source.file,
        "line": asked.passage.source.line,
        "answer": asked.answer,
        "interaction_id": asked.interaction_id,
        "weight_hash": asked.weight_hash,
    }


def _asked_from_json(row: dict[str, Any]) -> Asked:
    turns = tuple(Message(role, text_content(text)) for role, text in row.get("turns", ()))
    source = Source(row["file"], row["line"])
    passage = Passage(row["prompt"], row["correction"], source, turns)
    return Asked(passage, row["answer"], row["interaction_id"], row["weight_hash"])


def watch_swap(
    workspace: Workspace, server: LocalServer, conversation: Conversation, live: Artifact
) -> Artifact:
    """See the running server answer from the weights that are live now."""
    live_hash = live.facts["weight_hash"]
    samples = [one.passage for one in conversation.asked[:3]]

    def make(folder: Path) -> Facts:
        witnessed = server.running
        server.start()
        started_at = time.monotonic()
        answers = [ask(server.url, server.key, samples[0], f"swap-{time.time_ns()}")]
        while answers[0].weight_hash != live_hash:
            if time.monotonic() - started_at > SWAP_WITHIN_S:
                raise NoriaError(
                    f"the server still answers from {answers[0].weight_hash[:12]}",
                    f"{live_hash[:12]} within {SWAP_WITHIN_S:.0f} s of promotion",
                )
            time.sleep(0.1)
            answers = [ask(server.url, server.key, samples[0], f"swap-{time.time_ns()}")]
        seconds = time.monotonic() - started_at
        answers += [ask(server.url, server.key, p, f"after-{live_hash[:16]}") for p in samples[1:]]
        rows = [_asked_to_json(one) for one in answers]
        (folder / "answers.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
        return {
            "weight_hash": live_hash,
            "seconds_to_swap": round(seconds, 2),
            "witnessed": witnessed,
            "server_peak_memory_bytes": server.peak_memory_bytes(),
        }

    return run_stage(
        workspace,
        "swap",
        make,
        inputs={"live": live.key, "feedback": conversation.artifact.key},
        result=_swap_line,
    )


def _swap_line(facts: Facts) -> str:
    short = facts["weight_hash"][:12]
    if facts["witnessed"]:
        seconds = facts["seconds_to_swap"]
        return f"the same server, not restarted, answers from {short} {seconds} s later"
    return f"a new server answers from {short} (this run began after the promotion)"
