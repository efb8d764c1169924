"""A real browser on a page of a server, for the tests that drive one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def opened_chromium() -> Iterator[Any]:
    """The browser, closed at the end; a test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: tools/get-chromium installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A browser's window on the page, and everything that went wrong in it."""

    def __init__(self, browser: Any, url: str, **settings: Any) -> None:
        settings = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **settings}
        self.context = browser.new_context(**settings)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.url = url
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.page.on("request", lambda one: self.asked.append(one.url))
        self.page.on("pageerror", lambda one: self.wrong.append(str(one)))
        self.page.on(
            "console", lambda one: self.wrong.append(one.text) if one.type == "error" else None
        )
        self.page.goto(url)

    def sign_in(self, key: str) -> None:
        self.page.locator("#key").fill(key)
        self.page.keyboard.press("Enter")
        self.page.locator("[role=tab]").first.wait_for()

    def ask(self, text: str) -> Any:
        """Ask and wait for the whole answer; returns its element."""
        self.page.locator("#asked").fill(text)
        self.page.keyboard.press("Enter")
        turn = self.page.locator(".turn").last
        turn.locator(".after-answer").wait_for()
        return turn

    def button(self, within: Any, name: str) -> Any:
        return within.get_by_role("button", name=name, exact=True)

    def change(self, what: str, reason: str) -> None:
        """Ask for a change of what is live, and say why."""
        self.page.get_by_role("button", name=what, exact=True).click()
        dialog = self.page.get_by_role("dialog", name=what)
        dialog.get_by_label("Reason").fill(reason)
        dialog.get_by_role("button", name=what).click()
        dialog.wait_for(state="hidden")

    def close(self) -> None:
        outside = [one for one in self.asked if not one.startswith((self.url, "data:"))]
        self.context.close()
        assert outside == [] and self.wrong == []
