"""The addresses of the page's server, and what each of them answers.

What reads or changes the session runs on the one thread of the event loop, and so does the wait until a verdict is on
disk: requests see each other's effects whole. Pictures and maps are made in threads.
"""

import asyncio
import mimetypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from partlabel.errors import PartlabelError, StorageError, UsageError
from partlabel.reviewing.evidence import Evidence
from partlabel.reviewing.guard import Answer, Guard
from partlabel.reviewing.learning import Learning
from partlabel.reviewing.queues import STANDINGS, Wanted
from partlabel.reviewing.session import Session
from partlabel.reviewing.thumbnails import LARGE, SIZES, Picture, Pictures
from partlabel.reviewing.verdicts import Decision

STATIC = Path(__file__).parent / "static"
AT_ONCE = 2_000
_THREADS = 4
_REVALIDATED = "private, no-cache"
"""For pictures: a number may mean another picture in the next session at the same port, so that a browser has to ask
whether it still has the right one; that costs no bytes.
"""
_INTEGER = 2**53

Result = TypeVar("Result")


class _Revalidated(StaticFiles):
    """Files that a browser asks about each time: they change with the version."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        """As usual, and never used unasked."""
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _Sent(BaseModel):
    """One verdict as the page sends it."""

    model_config = ConfigDict(extra="ignore", strict=True)

    cell: int = Field(ge=0, lt=_INTEGER)
    verdict: Literal["none", "present", "absent", "unsure"]
    seen: int | None = Field(default=None, ge=0, lt=_INTEGER)
    force: bool = False


class _Verdicts(BaseModel):
    """Verdicts as the page sends them, with the tab that did, and the key of the session that it takes this for."""

    model_config = ConfigDict(extra="ignore", strict=True)

    client: str = Field(min_length=1, max_length=100)
    subject: str | None = Field(default=None, max_length=100)
    verdicts: list[_Sent] = Field(max_length=AT_ONCE)


class Site:
    """The server's answers.

    Args:
        session: the review.
        pictures: its pictures.
        evidence: maps of a model; None without one.
        learning: a model that learns from the verdicts; None without one.
    """

    def __init__(
        self, session: Session, pictures: Pictures, evidence: Evidence | None, learning: Learning | None = None
    ) -> None:
        self.session, self.pictures, self.evidence, self.learning = session, pictures, evidence, learning
        self._threads = ThreadPoolExecutor(_THREADS, "pictures")
        self._model = ThreadPoolExecutor(1, "model")  # one map at a time, and pictures do not wait for it

    def app(self, port: int, token: str) -> Guard:
        """The application, behind its guard."""
        routes = [
            Route("/", self._index),
            Mount("/static", _Revalidated(directory=STATIC)),
            Route("/api/session", self._session),
            Route("/api/order", self._order),
            Route("/api/cells", self._cells),
            Route("/api/images", self._images),
            Route("/api/image/{image}", self._image),
            Route("/api/changes", self._changes),
            Route("/api/verdicts", self._verdicts, methods=["POST"]),
            Route("/thumb/{image}", self._thumb),
            Route("/image/{image}", self._large),
            Route("/evidence/{image}/{column}", self._evidence),
        ]
        handlers: dict[Any, Any] = {PartlabelError: _expected, HTTPException: _http_error, Exception: _unexpected}
        mimetypes.add_type("text/javascript", ".js")  # whatever this machine's own list says: modules need it
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return Guard(app, port, token)

    def close(self) -> None:
        """End the threads."""
        for threads in (self._threads, self._model):
            threads.shutdown(wait=False, cancel_futures=True)
        if self.learning is not None:
            self.learning.close()

    def _learn(self) -> None:
        """Where enough has changed; the first time when a page is opened, which does not wait for it."""
        if self.learning is not None:
            self.learning.look()

    async def _index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    async def _session(self, request: Request) -> Response:
        self._learn()
        return Answer(self.session.summary())

    async def _order(self, request: Request) -> Response:
        return Answer(self.session.order(self._wanted(request)))

    async def _cells(self, request: Request) -> Response:
        if (ids := request.query_params.get("ids")) is not None:
            return Answer(self.session.cells_at(_numbers(ids)))
        return Answer(self.session.cells(self._wanted(request), *_span(request)))

    async def _images(self, request: Request) -> Response:
        return Answer(self.session.images(request.query_params.get("search", ""), *_span(request)))

    async def _image(self, request: Request) -> Response:
        row = self._row(request)
        large = await self._in_thread(lambda: self.pictures.large(self.session.subject.images[row]))
        return Answer(self.session.image(row, large.size))

    async def _changes(self, request: Request) -> Response:
        self._refuse_other(request.query_params.get("subject"))
        after = _integer(request, "after", 0, _INTEGER)
        return Answer(self.session.changes(after, request.query_params.get("client", "")))

    async def _verdicts(self, request: Request) -> Response:
        sent = await _parsed(request, _Verdicts)
        self._refuse_other(sent.subject)
        decisions = [Decision(one.cell, one.verdict, one.seen, one.force) for one in sent.verdicts]
        answer = Answer(self.session.decide(sent.client, decisions))
        self._learn()
        return answer

    async def _thumb(self, request: Request) -> Response:
        name, size = self.session.subject.images[self._row(request)], _integer(request, "size", SIZES[0], _INTEGER)
        if size not in SIZES:
            raise UsageError(f"size {size} is not {', '.join(map(str, SIZES))}")
        return await self._picture(request, name, size, lambda: self.pictures.thumbnail(name, size))

    async def _large(self, request: Request) -> Response:
        name = self.session.subject.images[self._row(request)]
        return await self._picture(request, name, LARGE, lambda: self.pictures.large(name).picture)

    async def _evidence(self, request: Request) -> Response:
        row, column = self._row(request), _path_number(request, "column", len(self.session.subject.classes))
        if self.evidence is None:
            raise HTTPException(404, "there is no model to ask; start partlabel review with --run RUN")
        image, name, evidence = self.session.subject.images[row], self.session.subject.classes[column], self.evidence
        drawing = asyncio.get_running_loop().run_in_executor(self._model, evidence.overlay, image, name)
        return Response(await drawing, media_type="image/png")

    async def _picture(self, request: Request, name: str, size: int, make: Callable[[], Picture]) -> Response:
        if (known := request.headers.get("if-none-match")) is not None:
            etag = await self._in_thread(lambda: self.pictures.etag(name, size))
            if etag is not None and etag in {part.strip() for part in known.split(",")}:
                return Response(status_code=304, headers={"ETag": etag, "Cache-Control": _REVALIDATED})
        picture = await self._in_thread(make)
        headers = {} if picture.etag is None else {"ETag": picture.etag, "Cache-Control": _REVALIDATED}
        return Response(picture.content, media_type="image/jpeg", headers=headers)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _refuse_other(self, subject: str | None) -> None:
        """Refuse a page of another review, left open at the same port: its numbers mean other cells here."""
        if subject is not None and subject != self.session.key:
            raise HTTPException(409, "this page is of another review than the one that runs now; load it again")

    def _row(self, request: Request) -> int:
        return _path_number(request, "image", len(self.session.subject.images))

    def _wanted(self, request: Request) -> Wanted:
        asked, given = self.session.asked, request.query_params
        queue = given.get("queue") or asked.queues[0]
        if queue not in asked.queues:
            raise UsageError(f"there is no such queue; this session has {', '.join(asked.queues)}")
        column = None if given.get("class", "all") == "all" else _integer(request, "class", 0, asked.classes)
        show = given.get("show", "open")
        verdicts = {"all": None} | {name: number for number, name in enumerate(STANDINGS)}
        if show not in verdicts:
            raise UsageError(f"show is one of {', '.join(verdicts)}")
        return Wanted(queue, column, verdicts[show], self.session.matching(given.get("search", "")))


def _integer(request: Request, name: str, default: int, below: int) -> int:
    text = request.query_params.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) < below):
        raise UsageError(f"{name} is not a number from 0 to {below - 1}")
    return int(text)


def _span(request: Request) -> tuple[int, int]:
    return _integer(request, "offset", 0, _INTEGER), min(_integer(request, "limit", 200, _INTEGER), AT_ONCE)


def _path_number(request: Request, name: str, below: int) -> int:
    text = request.path_params[name]
    if not (text.isascii() and text.isdigit() and len(text) < 17 and int(text) < below):
        raise HTTPException(404, f"there is no such {'class' if name == 'column' else name} in this session")
    return int(text)


def _numbers(text: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    parts = [part for part in text.split(",") if part][: AT_ONCE + 1]
    if len(parts) > AT_ONCE or not all(part.isascii() and part.isdigit() and len(part) < 17 for part in parts):
        raise UsageError(f"ids are at most {AT_ONCE:,} numbers of cells with commas between them")
    return np.array([int(part) for part in parts], np.int64)


Model = TypeVar("Model", bound=BaseModel)


async def _parsed(request: Request, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"][:3])) or "the body"
        known = where if where.isascii() and where.replace(".", "").replace("_", "").isalnum() else "the body"
        raise UsageError(f"{known}: {first['msg']}") from error


async def _expected(request: Request, error: Exception) -> Response:
    status = HTTPStatus.INSUFFICIENT_STORAGE if isinstance(error, StorageError) else HTTPStatus.BAD_REQUEST
    return Answer({"error": str(error)}, status)


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    sentence = str(error.detail) if isinstance(error, HTTPException) else "something went wrong"
    return Answer({"error": sentence}, status)


async def _unexpected(request: Request, error: Exception) -> Response:
    return Answer({"error": "an error in partlabel; the terminal says more"}, 500)
