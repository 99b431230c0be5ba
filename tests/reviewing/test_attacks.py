"""What a hostile page, network, table or picture tries, one test each, against a real server."""

import json
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

pytestmark = pytest.mark.slow  # servers of their own

Serve = Callable[..., Any]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
PATHS = (
    "/api/session",
    "/api/order",
    "/api/cells",
    "/api/images",
    "/api/image/0",
    "/api/changes",
    "/thumb/0",
    "/image/0",
)
BODY = {"client": "evil", "verdicts": [{"cell": 0, "verdict": "present"}]}


@pytest.fixture(scope="module")
def server(served_once: Serve, shared_suggestions: Path, photos: Path) -> Any:
    return served_once(shared_suggestions, photos)


@pytest.fixture
def page(server: Any) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def untouched(page: httpx.Client) -> bool:
    return page.get("/api/session").json()["seq"] == 0


def test_it_listens_on_this_machine_only(server: Any) -> None:
    listening = [line.split() for line in Path(f"/proc/{server.process.pid}/net/tcp").read_text().splitlines()[1:]]
    port = f"{server.port:04X}"
    addresses = {entry[1].split(":")[0] for entry in listening if entry[1].endswith(f":{port}") and entry[3] == "0A"}
    assert addresses == {f"{struct.unpack('<I', socket.inet_aton('127.0.0.1'))[0]:08X}"}


def test_nothing_is_told_without_the_cookie(server: Any) -> None:
    for path in (*PATHS, "/static/main.js", "/static/", "/nothing", "/evidence/0/0"):
        for cookie in ({}, {f"partlabel-{server.port}": "guess"}, {f"partlabel-{server.port}": ""}):
            answer = httpx.get(server.base + path, cookies=cookie)
            assert answer.status_code == 401, path
            assert "pictures" not in answer.text
    assert httpx.get(server.base + "/").status_code == 401
    for path in ("/api/verdicts", "/api/link"):
        assert httpx.post(server.base + path, json=BODY, headers={"Origin": server.base}).status_code == 401


def test_the_token_works_once(served: Serve, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    assert httpx.get(server.base + "/?token=guess").status_code == 403
    assert httpx.head(server.url).status_code == 403
    first = httpx.get(server.url)
    assert first.status_code == 303
    assert first.headers["location"] == "/"
    cookie = first.headers["set-cookie"].casefold()
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert server.url.partition("token=")[2] not in cookie
    again = httpx.get(server.url)
    assert again.status_code == 403
    assert "set-cookie" not in again.headers
    assert httpx.get(server.url, cookies=dict(first.cookies)).status_code == 303  # the same browser, once more


def test_a_window_can_let_in_one_more_browser(served: Serve, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    with server.client() as page:
        first, second = (page.post("/api/link", json={}).json()["path"] for _ in range(2))
        assert first != second
        assert httpx.get(server.base + first).status_code == 403  # a newer one has taken its place
        assert httpx.get(server.base + second, headers={"Host": "evil.example"}).status_code == 403
        answer = httpx.get(server.base + second)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert httpx.get(server.base + "/api/session", cookies=dict(answer.cookies)).status_code == 200
        assert httpx.get(server.base + second).status_code == 403
        assert httpx.get(server.url).status_code == 403  # nor does the printed one work again
        assert page.get("/api/link").status_code == 404
        assert page.post("/api/link", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
        assert page.get("/api/session").status_code == 200


def test_another_host_name_is_refused(page: httpx.Client, server: Any) -> None:
    """DNS rebinding: evil.example points to 127.0.0.1, and the browser takes it for the same origin."""
    hosts = ("evil.example", f"evil.example:{server.port}", "127.0.0.1", "127.0.0.1:1", f"[::1]:{server.port}", "")
    for host in hosts:
        for path in ("/", "/api/session", "/static/main.js"):
            assert page.get(path, headers={"Host": host}).status_code in {400, 403}, host
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert page.post("/api/verdicts", json=BODY, headers=headers).status_code in {400, 403}
        assert httpx.get(server.url, headers={"Host": host}).status_code in {400, 403}
    assert untouched(page)
    assert page.get("/api/session", headers={"Host": f"localhost:{server.port}"}).status_code == 200


def test_another_site_cannot_write(page: httpx.Client, server: Any) -> None:
    """Cross-site request forgery, had the browser sent the cookie along."""
    origins = (
        "http://evil.example", "null", "", "http://", f"https://127.0.0.1:{server.port}",
        f"http://127.0.0.1:{server.port + 1}", f"http://127.0.0.1:{server.port}.evil.example",
        f"http://127.0.0.1:{server.port}@evil.example", f"http://127.0.0.1:{server.port}/", f"127.0.0.1:{server.port}",
    )  # fmt: skip
    for origin in origins:
        for path in ("/api/verdicts", "/api/link"):
            assert page.post(path, json=BODY, headers={"Origin": origin}).status_code == 403, origin
    for site in ("cross-site", "same-site", "none"):
        for path in ("/api/verdicts", "/api/link"):
            assert page.post(path, json=BODY, headers={"Sec-Fetch-Site": site}).status_code == 403
    del page.headers["Origin"]
    assert page.post("/api/verdicts", json=BODY).status_code == 403
    assert page.post("/api/link", json={}).status_code == 403
    assert untouched(page)
    empty = {"client": "good", "verdicts": []}
    assert page.post("/api/verdicts", json=empty, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_another_site_cannot_embed_or_read(page: httpx.Client) -> None:
    for path in PATHS:
        for site in ("cross-site", "same-site"):
            assert page.get(path, headers={"Sec-Fetch-Site": site}).status_code == 403
        answer = page.get(path, headers={"Origin": "http://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_form_cannot_write(page: httpx.Client) -> None:
    """Content types that a form of any site can send without asking."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = page.post("/api/verdicts", content=json.dumps(BODY), headers={"Content-Type": kind})
        assert answer.status_code == 415
    assert page.get("/api/verdicts").status_code == 405
    assert page.put("/api/verdicts", json=BODY).status_code == 405
    assert untouched(page)


def test_every_answer_has_the_headers_that_keep_a_browser_in_bounds(page: httpx.Client, server: Any) -> None:
    for path in (*PATHS, "/", "/static/main.js", "/nothing", "/static/nothing", "/thumb/999"):
        answer = page.get(path)
        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "server" not in answer.headers
        if path.startswith("/api"):
            assert answer.headers["cache-control"] == "no-store"
    refused = httpx.get(server.base + "/api/session")
    assert refused.headers["content-security-policy"] == POLICY
    assert httpx.get(server.base).headers["cache-control"] == "no-store"


def test_errors_reflect_no_html(page: httpx.Client) -> None:
    evil = "<script>alert(1)</script>"
    answers = [
        page.get("/" + evil),
        page.get("/api/" + evil),
        page.get("/thumb/" + evil),
        page.get("/evidence/0/" + evil),
        page.get("/static/" + evil),
        page.get("/", params={"token": evil}),
        *(
            page.get("/api/cells", params={name: evil})
            for name in ("queue", "class", "show", "search", "offset", "ids")
        ),
        page.get("/api/changes", params={"after": evil, "client": evil}),
        page.post("/api/verdicts", json={"client": evil, "verdicts": [{"cell": 0, "verdict": evil}]}),
        page.post("/api/verdicts", json={evil: evil}),
        page.get("/api/session", headers={"Host": evil}),
    ]
    for answer in answers:
        assert "<" not in answer.text, answer.url
        assert "alert" not in answer.text, answer.url
        assert not answer.headers.get("content-type", "").startswith("text/html"), answer.url


def test_there_is_no_open_redirect(page: httpx.Client, server: Any) -> None:
    for path in ("//evil.example", "/\\evil.example", "/?next=http://evil.example", "/api/session/", "/static"):
        answer = page.get(path)
        assert answer.headers.get("location", "/") == "/", path
        assert answer.status_code in {200, 404}, path
    raw = f"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(raw.encode())
        assert b"evil" not in connection.recv(100_000)


def test_static_files_end_at_their_folder(page: httpx.Client, server: Any) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in page.cookies.items())
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/static//etc/passwd"):
        raw = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(raw.encode())
            answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))  # type: ignore[misc]
        assert b" 404 " in answer.partition(b"\r\n")[0], path
        assert b"import" not in answer
        assert b"root:" not in answer


def test_a_table_cannot_name_files_outside_the_folder(served: Serve, tmp_path: Path, photos: Path) -> None:
    root = tmp_path / "pictures"
    root.mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "secret.png")
    Image.new("RGB", (8, 8), "red").save(root / "inside.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe.png")
    outside = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "a/../../secret.png", "..\\secret.png"]
    broken = ["loop.png", "pipe.png", ".", "missing.png", "/dev/zero", "inside.png/x"]
    names = ["inside.png", *outside, *broken]
    source = tmp_path / "s.csv"
    source.write_text("image,class,probability\n" + "".join(f"{name},sky,0.9\n" for name in names))
    with served(source, root).client() as page:
        images = page.get("/api/images").json()["images"]
        assert [one["name"] for one in images] == names
        assert "etag" in page.get("/thumb/0").headers
        placeholder = page.get("/thumb/1").content
        for number in range(1, len(names)):
            answer = page.get(f"/thumb/{number}")
            assert (answer.status_code, answer.content) == (200, placeholder), names[number]
            assert "etag" not in answer.headers
            assert page.get(f"/image/{number}").status_code == 200
            assert page.get(f"/api/image/{number}").json()["width"] is None


def test_a_body_without_end_is_cut_off(page: httpx.Client, server: Any) -> None:
    headers = {"Content-Type": "application/json"}
    assert page.post("/api/verdicts", content=b" " * 1_000_001, headers=headers).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(2_000):
            yield b" " * 10_000

    with suppress(httpx.TransportError):  # the connection may be closed on the way
        assert page.post("/api/verdicts", content=endless(), headers=headers).status_code == 413
    assert untouched(page)
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 300_000  # kB


def test_nobody_can_speak_by_websocket(page: httpx.Client, server: Any) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert page.get("/api/session", headers=headers).status_code in {200, 400, 404, 426}


def test_a_picture_that_grows_on_decoding_is_refused(served: Serve, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    root.mkdir()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10**6))
        + chunk(b"IEND", b"")
    )
    (root / "bomb.png").write_bytes(bomb)
    (root / "svg.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    (tmp_path / "classes.txt").write_text("sky")
    server = served(tmp_path / "classes.txt", root)
    with server.client() as page:
        for path in ("/thumb/0", "/image/0", "/thumb/1", "/image/1"):
            answer = page.get(path)
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.content.startswith(b"\xff\xd8")
            assert b"svg" not in answer.content
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) < 500_000  # kB
