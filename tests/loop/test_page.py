"""The whole wheel, turned from the page: ask, correct, improve, read the verdict, promote."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from page_visit import Visit, opened_chromium
from running import Ran, noria

CORRECTED = [
    ("The whale", " swam slowly round the ship, and the harpooneers stood up in their boats."),
    ("Call me", " Ishmael. Some years ago I thought I would see the watery part of the world."),
    ("The old captain", " stamped his ivory leg upon the deck and cried out for the white whale."),
    ("In the inn", " Queequeg sat upon the bed, and laid his tomahawk beside the little idol."),
    ("The sea", " rolled on as it rolled before there was a ship or a sailor upon it."),
]
TURN_S = 900  # 25 alone; with the lowest priority beside others, as long as they let it wait


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from opened_chromium()


def likelihood(client: httpx.Client) -> tuple[float, str]:
    """How likely all corrections are to the model that is live, and its weight hash."""
    total, weights = 0.0, ""
    for prompt, wanted in CORRECTED:
        body = {"model": "live", "prompt": prompt + wanted, "max_tokens": 0, "echo": True}
        said = client.post("/v1/completions", json={**body, "logprobs": 0}).json()
        total += sum(one or 0.0 for one in said["choices"][0]["logprobs"]["token_logprobs"])
        weights = said["weight_hash"]
    return total, weights


def test_what_is_corrected_on_the_page_is_learned_judged_promoted_and_taken_back(
    first: Ran, tmp_path: Path, browser: Any
) -> None:
    shutil.copytree(first.store, tmp_path / "store")
    for suffix in (".toml", ".lock"):
        shutil.copy(first.recipe.with_suffix(suffix), tmp_path / f"tiny{suffix}")
    recipe = tmp_path / "tiny.toml"  # this team wants the novel, whatever becomes of the speeches
    require = 'require = ["frozen.bits_per_byte <= champion"]'
    recipe.write_text(re.sub(r"require = \[.*?\n\]", require, recipe.read_text(), flags=re.DOTALL))
    where = [str(tmp_path / "tiny.toml"), "--store", str(tmp_path / "store")]
    champion = noria("rollback", *where)["live"]
    command = [sys.executable, "-m", "noria", "serve", *where, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            ready = json.loads(server.stdout.readline())
            headers = {"Authorization": f"Bearer {ready['key']}"}
            with httpx.Client(base_url=ready["url"], headers=headers, timeout=60) as client:
                visit = Visit(browser, ready["url"])
                visit.sign_in(ready["key"])
                with watching(where, tmp_path / "watch.log"):
                    turned_from_the_page(visit, client, where, champion)
                visit.close()
        finally:
            server.terminate()


@contextmanager
def watching(where: list[str], log: Path) -> Iterator[None]:
    """`noria improve --watch` in a process of its own, which does what the page asks for."""
    command = [sys.executable, "-m", "noria", "improve", *where, "--watch"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stderr=out)
    try:
        yield
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        print(log.read_text(encoding="utf-8"))  # shown where something went wrong


def turned_from_the_page(
    visit: Visit, client: httpx.Client, where: list[str], champion: str
) -> None:
    page = visit.page
    for prompt, wanted in CORRECTED:
        turn = visit.ask(prompt)
        visit.button(turn, "Bad answer").click()
        turn.get_by_text("Noted: bad").wait_for()
        visit.button(turn, "Correct").click()
        turn.locator("textarea").fill(wanted)
        visit.button(turn, "Send").click()
        turn.get_by_text("Your correction is kept").wait_for()
    before, weights = likelihood(client)
    assert weights == champion
    page.get_by_role("tab", name="Loop").click()
    earlier = verdict(client)["at"]  # of the run itself
    page.get_by_role("button", name="Improve", exact=True).click()
    dialog = page.get_by_role("dialog", name="Improve")
    dialog.get_by_role("button", name="Improve", exact=True).click()
    dialog.wait_for(state="hidden")
    # The page sees the verdict by itself. The first time a person has to look before it goes live.
    give_up_at = time.monotonic() + TURN_S
    while (now := verdict(client))["at"] == earlier:
        assert time.monotonic() < give_up_at
        time.sleep(0.2)
    challenger = now["weight_hash"]
    assert now["decision"] == "promote"
    assert client.get("/health").json()["weight_hash"] == champion
    page.locator(f"code[title='{challenger}']").first.wait_for()
    page.get_by_text("frozen.bits_per_byte is better than the champion's").wait_for()
    page.locator(".verdict-chip", has_text="promote").wait_for()
    assert page.locator("td .interval").count() == 9  # three models on three sets of records
    page.get_by_role("button", name="Promote challenger").wait_for()
    review = ("--intended-use", "a page's test of ours", "--misuse", "none that we know of")
    noria("promote", challenger[:12], "-r", *where, exit_code=2)  # nobody has signed
    noria("review", *where, "--sign", "Ada", *review, "--affected", "nobody but a test")
    visit.change("Promote challenger", "I looked")
    until(client, challenger)
    after, _ = likelihood(client)
    assert after > before + 10  # nats: what was asked for has become far likelier
    page.get_by_role("tab", name="Write").click()
    turn = visit.ask(CORRECTED[0][0])
    visit.button(turn, "Details").click()
    assert challenger in turn.locator(".details").inner_text()
    page.get_by_role("tab", name="Loop").click()
    visit.change("Roll back", "enough")
    until(client, champion)


def verdict(client: httpx.Client) -> dict[str, Any]:
    """What the gate said last."""
    (loop,) = client.get("/v1/loop").json()["loops"]
    return loop["verdict"]  # type: ignore[no-any-return]


def until(client: httpx.Client, weights: str) -> None:
    """Wait until these weights answer."""
    give_up_at = time.monotonic() + 30
    while client.get("/health").json()["weight_hash"] != weights:
        assert time.monotonic() < give_up_at
        time.sleep(0.05)
