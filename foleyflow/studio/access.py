"""Who may use the studio: checks of host, origin, session and size before any request is answered.

A web page of another site can send requests to a server on the same machine, and a name of its own
can lead to that machine (DNS rebinding). The `Host` of a request therefore has to be the address of
the server, and an `Origin` has to be the same.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "foleyflow_session"  # with the port: browsers send cookies to all ports of a host
LARGEST_BODY_BYTES = 16 * 2**20  # of all requests except uploads
UPLOADS = re.compile(r"/api/v1/(uploads|projects/[^/]+/references)")
MOST_SESSIONS = 1000
# Parts of the page that need no session, because they are the same for everybody
_OPEN = ("/assets/", "/favicon")
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Keys:
    """The token of the link, which is used once, the API key, and the open sessions."""

    def __init__(self, used: Callable[[str], None] = lambda token: None) -> None:
        """`used` is called with the new token when a token was used."""
        self.api_key = secrets.token_urlsafe(32)
        self.token = secrets.token_urlsafe(24)
        self._sessions: dict[str, None] = {}
        self._used = used
        self._lock = threading.Lock()

    def exchange(self, token: str) -> str | None:
        """A new session for the present token, which is replaced; None for any other."""
        with self._lock:
            if not _equal(token, self.token):
                return None
            self.token = secrets.token_urlsafe(24)
            session = secrets.token_urlsafe(32)
            self._sessions[session] = None
            while len(self._sessions) > MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
        self._used(self.token)
        return session

    def is_session(self, session: str) -> bool:
        """Whether a session is open."""
        with self._lock:
            return any([_equal(session, known) for known in self._sessions])

    def is_api_key(self, key: str) -> bool:
        """Whether it is the API key."""
        return _equal(key, self.api_key)


class AccessControl:
    """Answers requests that are not allowed, and adds headers for browsers to all answers.

    Args:
        app: that answers allowed requests.
        keys: of the server.
        hosts: values of `Host` that name the server.
        port: of the server.
    """

    def __init__(self, app: ASGIApp, keys: Keys, hosts: Iterable[str], *, port: int) -> None:
        self._app, self._keys = app, keys
        self._cookie = f"{COOKIE}_{port}"
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        # What is no request
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = _headers(scope)
        path: str = scope["path"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                added = dict(_HEADERS)
                if path.startswith("/api/"):
                    added["cache-control"] = "no-store"
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in added.items()
                        if name.encode() not in known
                    ),
                ]
            await send(message)

        # Other hosts and sites, the link, and requests without a session
        refusal = self._refusal(headers, path)
        if refusal is not None:
            await _answer(send_with_headers, *refusal)
            return
        if path == "/" and (token := _query(scope, "token")) is not None:
            await self._open_session(token, headers, send_with_headers)
            return
        if not path.startswith(_OPEN) and not self._is_allowed(headers):
            await _answer(
                send_with_headers,
                401,
                "there is no session",
                "open the link that foleyflow serve has printed, or send the API key",
            )
            return
        # Bodies; uploads have their own limit
        if not UPLOADS.fullmatch(path):
            limited = _limited(receive, headers)
            if limited is None:
                await _answer(
                    send_with_headers,
                    413,
                    f"the body is larger than {LARGEST_BODY_BYTES} bytes",
                    "send less at once",
                )
                return
            receive = limited
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, headers: dict[str, str], path: str) -> tuple[int, str, str] | None:
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if host not in self._hosts:
            return 403, "the request is for another host", "use the address of foleyflow serve"
        if origin is not None and origin.lower() != f"http://{host}":
            return 403, "the request comes from another site", "use the page of the studio"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and path.startswith("/api"):
            return 403, "the request comes from another site", "use the page of the studio"
        return None

    def _is_allowed(self, headers: dict[str, str]) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._keys.is_api_key(key.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and self._keys.is_session(cookie.value)

    async def _open_session(self, token: str, headers: dict[str, str], send: Send) -> None:
        session = self._keys.exchange(token)
        if session is None and not self._is_allowed(headers):
            await _answer(
                send, 401, "this link was used already", "open the link that was printed last"
            )
            return
        answer = [(b"location", b"/"), (b"content-length", b"0"), (b"cache-control", b"no-store")]
        if session is not None:
            cookie = f"{self._cookie}={session}; HttpOnly; SameSite=Strict; Path=/"
            answer.append((b"set-cookie", cookie.encode()))
        await send({"type": "http.response.start", "status": 303, "headers": answer})
        await send({"type": "http.response.body", "body": b""})


def _headers(scope: Scope) -> dict[str, str]:
    """The headers by name; of those that appear more than once, all joined."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _query(scope: Scope, name: str) -> str | None:
    values = parse_qs(scope["query_string"].decode("latin-1")).get(name)
    return values[0] if values else None


def _limited(receive: Receive, headers: dict[str, str]) -> Receive | None:
    """A `receive` that ends the connection after too many bytes; None if they are announced."""
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdecimal() or int(length) > LARGEST_BODY_BYTES:
        return None
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > LARGEST_BODY_BYTES:
            return {"type": "http.disconnect"}
        return message

    return limited


async def _answer(send: Send, status: int, error: str, hint: str) -> None:
    body = json.dumps({"error": error, "hint": hint}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
