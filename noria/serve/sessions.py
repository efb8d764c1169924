"""Sessions of the page: signed in with a key once, known by a cookie from then on.

In: a key's secret, later the cookie of a request. Out: the key's principal, or none.
The cookie is no key: it is worth nothing after twelve hours, after signing out, after the server's
end, and as soon as its key is revoked, which is looked up anew for every request. What a browser
sends by itself is not enough to change anything: such a request has to come from the page's own
origin and to carry the session's token, which only the page can read (docs/page.md).
This module knows no route.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from noria.serve.auth import KeyStore, Principal

SESSION_S = 12 * 3600
MAX_SESSIONS_OF_KEY = 32  # the oldest ends when another begins
CSRF_HEADER = "X-Noria-CSRF"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")  # they change nothing (RFC 9110, 9.2.1)


@dataclass(frozen=True)
class Session:
    """Whose it is, what its changing requests have to carry, and when it ends (monotonic)."""

    tenant: str
    key_id: str
    csrf: str
    ends_at: float


class Forged(Exception):
    """A request that changes something and did not come from the page itself."""


class Sessions:
    """The sessions of one server, in its memory; safe for many threads."""

    def __init__(self, keys: KeyStore, now: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._now = now
        self._sessions: dict[str, Session] = {}  # by the token's digest, the oldest first
        self._lock = threading.Lock()

    def begin(self, secret: str) -> tuple[str, Session] | None:
        """A new session's token and the session, or None for a key that does not hold."""
        principal = self._keys.check(secret)
        if principal is None:
            return None
        token = secrets.token_urlsafe(32)
        ends_at = self._now() + SESSION_S
        csrf = secrets.token_urlsafe(32)
        session = Session(principal.tenant, principal.key_id, csrf, ends_at)
        with self._lock:
            same = [at for at, one in self._live() if one.key_id == principal.key_id]
            for digest in same[: max(0, len(same) + 1 - MAX_SESSIONS_OF_KEY)]:
                del self._sessions[digest]
            self._sessions[_digest(token)] = session
        return token, session

    def find(self, token: str) -> Session | None:
        """The session of a token, if it has not ended."""
        with self._lock:
            found = self._sessions.get(_digest(token))  # a digest tells no one how near a guess is
        return found if found is not None and self._now() < found.ends_at else None

    def principal(self, session: Session) -> Principal | None:
        """Who its key belongs to, or None if that was revoked meanwhile."""
        return self._keys.holder(session.tenant, session.key_id)

    def end(self, token: str) -> None:
        """Sign out; the token is worth nothing from now on."""
        with self._lock:
            self._sessions.pop(_digest(token), None)

    def _live(self) -> list[tuple[str, Session]]:
        """Every session that goes on, the oldest first; those that ended are forgotten."""
        now = self._now()
        self._sessions = {at: one for at, one in self._sessions.items() if now < one.ends_at}
        return list(self._sessions.items())

    def principal_of(self, scope: Scope, headers: Headers) -> Principal | None:
        """Whom a request's cookie lets in, or None; a session whose key holds no longer ends here.

        Raises Forged if the request changes something and does not prove that it is the page's.
        """
        token = token_of(scope, headers)
        session = self.find(token) if token else None
        if session is None:
            return None
        principal = self.principal(session)
        if principal is None:
            self.end(token)
        elif scope["method"] not in SAFE_METHODS:
            given = headers.get(CSRF_HEADER, "").encode("utf-8")
            same = hmac.compare_digest(given, session.csrf.encode("utf-8"))
            if not same or not is_same_origin(headers):
                raise Forged
        return principal


def is_same_origin(headers: Headers) -> bool:
    """Whether a browser says that its request comes from a page of this server itself."""
    _, _, host = headers.get("origin", "").partition("://")
    return bool(host) and host == headers.get("host", "")


def token_of(scope: Scope, headers: Headers) -> str:
    """The token in a request's cookie; "" if there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(_cookie_name(scope))
    except CookieError:
        return ""
    return found.value if found is not None else ""


def set_cookie(response: Response, scope: Scope, token: str) -> None:
    """Give a browser its session: no script reads it and no other site's request carries it."""
    secure = scope["scheme"] == "https"
    name = _cookie_name(scope)
    response.set_cookie(name, token, SESSION_S, secure=secure, httponly=True, samesite="strict")


def delete_cookie(response: Response, scope: Scope) -> None:
    """Take the session out of a browser."""
    secure = scope["scheme"] == "https"
    response.delete_cookie(_cookie_name(scope), secure=secure, httponly=True, samesite="strict")


def _cookie_name(scope: Scope) -> str:
    # Cookies don't tell ports apart (RFC 6265, 8.5): two servers of one machine need two names.
    name = f"noria-{(scope.get('server') or ('', 0))[1] or 0}"
    return f"__Host-{name}" if scope["scheme"] == "https" else name


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
