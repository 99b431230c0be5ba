"""Running the server of a page until it is asked to stop."""

import asyncio
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

from partlabel.errors import Interrupted, StorageError
from partlabel.reviewing.server import Site
from partlabel.stopping import finishing_steps

_HOST = "127.0.0.1"
_LOOK = 0.1
"""Seconds between looks at whether somebody asked to stop."""
_KEPT_ALIVE = 120
"""Seconds after which an idle connection is closed. Where a thread imports torch, the loop may stand still for longer
than the usual 5; it would then close connections on which a request is waiting.
"""


def serve(site: Site, port: int, opened: Callable[[str], None]) -> None:
    """Answer requests to 127.0.0.1 until Ctrl-C or SIGTERM.

    Args:
        site: what answers.
        port: where; 0 for any free one.
        opened: called with the address to open, once it can be.

    Raises:
        StorageError: the port cannot be had.
    """
    with _bound(port) as listening:
        number = listening.getsockname()[1]
        token = secrets.token_urlsafe(32)
        config = uvicorn.Config(
            site.app(number, token),
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=2,
            timeout_keep_alive=_KEPT_ALIVE,
            h11_max_incomplete_event_size=64 * 1024,
            loop="asyncio",
            http="h11",
            proxy_headers=False,
        )
        server = _Server(config, listening, lambda: opened(f"http://{_HOST}:{number}/?token={token}"))
        try:
            with suppress(Interrupted), finishing_steps("stopped") as asked:
                asyncio.run(server.until(asked))
        finally:
            site.close()


def open_in_browser(address: str) -> None:
    """Open an address in the user's browser, if there is one with a window; a text browser would take the terminal."""

    def attempt() -> None:
        with suppress(webbrowser.Error, OSError):
            browser = webbrowser.get()
            if type(browser) is not webbrowser.GenericBrowser:
                browser.open(address)

    threading.Thread(target=attempt, daemon=True).start()


class _Server(uvicorn.Server):
    """A server that leaves signals to `partlabel.stopping`.

    Args:
        config: how it serves.
        listening: the socket.
        started_up: called when it answers.
    """

    def __init__(self, config: uvicorn.Config, listening: socket.socket, started_up: Callable[[], None]) -> None:
        super().__init__(config)
        self.listening, self.started_up = listening, started_up

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self.started_up()

    async def until(self, asked: Callable[[], bool]) -> None:
        """Serve until somebody asks to stop."""
        serving = asyncio.create_task(self.serve([self.listening]))
        while not serving.done():
            self.should_exit = self.should_exit or asked()
            await asyncio.wait([serving], timeout=_LOOK)
        await serving


@contextmanager
def _bound(port: int) -> Iterator[socket.socket]:
    # Where the protocol is not said, asyncio leaves small answers waiting for 40 ms (Nagle's algorithm).
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((_HOST, port))
        except (OSError, OverflowError) as error:
            raise StorageError(f"port {port} of {_HOST} cannot be had ({error}); give another, or 0 for any") from error
        listening.listen(128)
        yield listening
