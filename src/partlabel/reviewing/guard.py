"""Who may talk to the server of a page: only the browser that opened the printed address, and only from that page.

A page of somebody else's, open in the same browser, can send requests to any address of this machine; and a name of
its own that it lets point to 127.0.0.1 makes them look as if they came from the same origin (DNS rebinding). So the
Host has to be this server's, writing requests have to name this server as their origin, and everything needs a cookie
that is given once, for a token that is only in the address that was printed. Whoever has the cookie may ask for one
more token (`LINK`), for another browser of this machine.
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_LIMIT = 1_000_000
LINK = "/api/link"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_READING = frozenset({"GET", "HEAD"})
_OPEN_AGAIN = (
    "This page belongs to the browser that first opened the address which partlabel review printed. Reload the page; "
    "if that does not help, take a new address from the help (?) of a window that works, or end partlabel review with "
    "Ctrl-C, start it again and open the address that it prints then. No verdict is lost.\n"
)


class Answer(Response):
    """JSON without a character that HTML knows, should anything ever take it for that; any file name can be said."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes: ASCII, so that half a surrogate, which file names can hold, is an escape too."""
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        for mark in "<>&":
            text = text.replace(mark, f"\\u{ord(mark):04x}")
        return text.encode("ascii")


class Guard:
    """Lets requests through to an application, or refuses them.

    Args:
        app: the application.
        port: of the server.
        token: what the address that is opened first holds; it works once.
    """

    def __init__(self, app: ASGIApp, port: int, token: str) -> None:
        self.app, self.token = app, token
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.origins = {f"http://{host}" for host in self.hosts}
        self.cookie_name = f"partlabel-{port}"  # cookies do not tell the ports of a host apart
        self.cookie = secrets.token_urlsafe(32)
        self.token_used = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks by WebSockets
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope)
        answer = self._refusal(request)
        body: bytes | None = b""
        if answer is None and request.method not in _READING:
            body = await _body(request.headers, receive)
            if body is None:
                answer = _error(413, f"the request has more than {BODY_LIMIT:,} bytes; send fewer verdicts at once")
            elif request.url.path == LINK and request.method == "POST":
                answer = self._link()
        if answer is None:
            await self.app(scope, _replayed(body or b"", receive), _guarded(send))
        else:
            await answer(scope, receive, _guarded(send))

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a request that is not let through; None if it is."""
        headers = request.headers
        if headers.get("host") not in self.hosts:
            return _error(403, "this server answers only as 127.0.0.1 or localhost, at the port that it printed")
        known = self._has_cookie(headers)
        if request.url.path == "/" and request.method in _READING:
            return self._front_door(request, known)
        if not known:
            return _error(401, "no or an old cookie; open the address that partlabel review printed")
        if request.method in _READING:
            if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
                return _error(403, "another site asked for this; use the page itself")
            return None
        return self._foreign(headers)

    def _front_door(self, request: Request, known: bool) -> Response | None:
        """The page itself: for who has the cookie, or the token for the first time."""
        token = request.query_params.get("token")
        if token is None:
            return None if known else PlainTextResponse(_OPEN_AGAIN, 401)
        right = hmac.compare_digest(token.encode(errors="replace"), self.token.encode())
        if not known and (self.token_used or not right or request.method != "GET"):
            return PlainTextResponse(_OPEN_AGAIN, 403)
        answer = RedirectResponse("/", 303)
        if right and not self.token_used:
            self.token_used = True
            answer.set_cookie(self.cookie_name, self.cookie, httponly=True, samesite="strict", path="/")
        return answer

    def _link(self) -> Response:
        """A new address, which works once; an earlier one that was not used yet works no more."""
        self.token, self.token_used = secrets.token_urlsafe(32), False
        return Answer({"path": f"/?token={self.token}"})

    def _has_cookie(self, headers: Headers) -> bool:
        given = cookie_parser(headers.get("cookie", "")).get(self.cookie_name, "")
        return hmac.compare_digest(given.encode(errors="replace"), self.cookie.encode())

    def _foreign(self, headers: Headers) -> Response | None:
        """Refuse a writing request that does not come from the page."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        ours = origin in self.origins if origin is not None else site is not None
        if not ours or site not in {None, "same-origin"}:
            return _error(403, "this does not come from the page; use the page itself")
        if headers.get("content-type", "").partition(";")[0].strip().casefold() != "application/json":
            return _error(415, "the body is not application/json")
        return None


def _error(status: int, sentence: str) -> Answer:
    return Answer({"error": sentence}, status)


async def _body(headers: Mapping[str, str], receive: Receive) -> bytes | None:
    """The whole body; None as soon as it is too long, whatever length it announces."""
    announced = headers.get("content-length", "0")
    if not announced.isascii() or not announced.isdigit() or int(announced) > BODY_LIMIT:
        return None
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_LIMIT:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body once more, for the application; after it what comes from outside."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _guarded(send: Send) -> Send:
    """Every answer with the headers that keep a browser from doing more than this page needs."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _ALWAYS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return with_headers
