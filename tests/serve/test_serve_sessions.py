"""Signing in: what a browser keeps, what that is worth, and to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from serving_world import NAME, TENANT, World
from starlette.responses import Response

from noria.serve import page_routes
from noria.serve.page_routes import PAGE_FILES, PAGE_PATHS, PAGE_POLICY
from noria.serve.sessions import CSRF_HEADER, MAX_SESSIONS_OF_KEY, SESSION_S, Sessions, set_cookie

THUMB = {"interaction_id": "none", "kind": "thumb", "value": "up"}


@pytest.fixture
def browser(running: World) -> httpx.Client:
    """What a browser does by itself: it keeps cookies and names the origin of its page."""
    return running.http_of_page()


def sign_in(client: httpx.Client, key: str) -> dict[str, Any]:
    answer = client.post("/session", json={"key": key})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_the_cookie_is_for_this_page_alone_and_is_not_the_key(
    running: World, browser: httpx.Client
) -> None:
    said = sign_in(browser, running.key)
    assert said["rights"] == ["rate", "read", "use"] and said["tenant"] == TENANT
    assert said["model"] == NAME and said["speaks"] == "chat" and said["loop"]
    answer = browser.post(
        "/session", json={"key": running.key}, headers={CSRF_HEADER: said["csrf"]}
    )
    cookie = answer.headers["set-cookie"]
    assert all(one in cookie for one in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert "Domain" not in cookie and running.key not in cookie and said["csrf"] not in cookie
    assert browser.get("/v1/models").status_code == 200  # the cookie alone reads
    assert browser.get("/session").json() == {**said, "csrf": answer.json()["csrf"]}


def test_over_tls_the_cookie_is_secure_and_bound_to_its_host() -> None:
    response = Response()
    set_cookie(response, {"scheme": "https", "server": ("noria.example", 443)}, "token")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-noria-443=token;") and "Secure" in cookie


def test_what_changes_something_needs_the_origin_and_the_token_of_the_session(
    running: World, browser: httpx.Client
) -> None:
    csrf = sign_in(browser, running.key)["csrf"]
    other = sign_in(running.http_of_page(), running.key)["csrf"]
    good = {CSRF_HEADER: csrf, "origin": running.url}
    wrong: list[dict[str, str]] = [
        {CSRF_HEADER: ""},
        {CSRF_HEADER: csrf[:-1]},
        {CSRF_HEADER: other},
        {CSRF_HEADER: "é"},
        {"origin": ""},
        {"origin": "null"},
        {"origin": "http://evil.example"},
        {"origin": running.url + ".evil.example"},
        {"origin": running.url.rpartition(":")[0] + ":1"},
    ]
    for bad in wrong:
        headers = {name: value.encode() for name, value in {**good, **bad}.items()}
        for method, path, body in (("POST", "/v1/feedback", THUMB), ("DELETE", "/session", None)):
            answer = browser.request(method, path, json=body, headers=headers)
            assert answer.status_code == 403, (bad, path)
            assert answer.json()["error"]["code"] == "forged"
    assert browser.post("/v1/feedback", json=THUMB, headers=good).status_code == 404  # let in
    assert browser.delete("/session", headers=good).status_code == 200
    assert browser.get("/v1/models").status_code == 401


def test_nobody_is_signed_in_from_another_site_or_with_a_wrong_key(
    running: World, browser: httpx.Client
) -> None:
    revoked = running.keys.create(TENANT, ("use",))
    running.keys.revoke(TENANT, revoked.key_id)
    for wrong in (revoked.secret, running.key[:-1], "nk-", "x" * 200):
        answer = browser.post("/session", json={"key": wrong})
        assert answer.status_code == 401 and "set-cookie" not in answer.headers
        assert wrong not in answer.text
    for origin in ("", "null", "http://evil.example"):
        answer = browser.post("/session", json={"key": running.key}, headers={"origin": origin})
        assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert browser.get("/session").json() == {"signed_in": False}


def test_a_session_dies_with_its_key(running: World, browser: httpx.Client) -> None:
    created = running.keys.create(TENANT, ("use",))
    sign_in(browser, created.secret)
    assert browser.get("/v1/models").status_code == 200
    running.keys.revoke(TENANT, created.key_id)
    assert browser.get("/v1/models").status_code == 401
    assert browser.get("/session").json() == {"signed_in": False}
    sign_in(browser, running.key)  # the dead cookie stands in nobody's way


def test_a_signed_out_cookie_is_worth_nothing(running: World, browser: httpx.Client) -> None:
    csrf = sign_in(browser, running.key)["csrf"]
    kept = dict(browser.cookies)
    browser.delete("/session", headers={CSRF_HEADER: csrf})
    again = running.http()
    again.cookies.update(kept)
    assert again.get("/v1/models").status_code == 401


def test_a_key_in_the_header_goes_before_the_cookie(running: World, browser: httpx.Client) -> None:
    sign_in(browser, running.key)
    wrong = {"Authorization": f"Bearer {running.key[:-1]}x"}
    assert browser.get("/v1/models", headers=wrong).status_code == 401
    right = {"Authorization": f"Bearer {running.new_key('rate')}"}
    assert (
        browser.get("/v1/models", headers=right).status_code == 403
    )  # that key's rights, not ours
    assert browser.post("/v1/feedback", json=THUMB, headers=right).status_code == 404  # no CSRF


def test_a_session_has_the_rights_of_its_key_and_no_more(
    running: World, browser: httpx.Client
) -> None:
    csrf = sign_in(browser, running.new_key("read"))["csrf"]
    assert browser.get("/v1/loop").status_code == 200
    assert browser.get("/v1/models").status_code == 403
    body = {"name": NAME, "action": "rollback", "reason": "because"}
    answer = browser.post("/v1/loop/requests", json=body, headers={CSRF_HEADER: csrf})
    assert answer.status_code == 403 and "'promote'" in answer.json()["error"]["message"]


def test_sessions_end_by_themselves_and_are_few(world: World) -> None:
    now = [0.0]
    sessions = Sessions(world.keys, lambda: now[0])
    begun = sessions.begin(world.key)
    assert begun is not None
    first, session = begun
    now[0] = SESSION_S - 1
    assert sessions.find(first) == session
    now[0] = SESSION_S
    assert sessions.find(first) is None
    tokens = [
        found[0] for _ in range(MAX_SESSIONS_OF_KEY + 3) if (found := sessions.begin(world.key))
    ]
    held = [sessions.find(token) is not None for token in tokens]
    assert held == [False] * 3 + [True] * MAX_SESSIONS_OF_KEY
    assert len(sessions._sessions) == MAX_SESSIONS_OF_KEY  # the one that ended is forgotten
    assert sessions.begin("nk-wrong") is None and sessions.find("") is None


def test_the_page_is_open_and_may_load_nothing_but_its_own_files(running: World) -> None:
    folder = Path(page_routes.__file__).with_name("page")
    assert {one.name for one in folder.iterdir()} == set(PAGE_FILES)
    client = running.http()
    for path in PAGE_PATHS:
        answer = client.get(path)
        assert answer.status_code == 200, path
        if path != "/session":
            assert answer.headers["content-security-policy"] == PAGE_POLICY
        text = answer.text
        assert (
            "http://" not in text.replace("http://www.w3.org/2000/svg", "")
            and "https://" not in text
        )
        assert "style=" not in text and "innerHTML" not in text and "eval(" not in text, path
    assert "unsafe" not in PAGE_POLICY and "*" not in PAGE_POLICY
    for path in ("/page/", "/page/../app.py", "/page/nothing.js", "/index.html"):
        assert client.get(path).status_code == 401
