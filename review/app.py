"""The web pages of a review, for one person on the same machine.

Who may use them: requests to 127.0.0.1 or localhost by name, from pages of this server itself, with the
cookie that the address with the token sets. Nothing is uploaded: requests carry JSON of a limited size.
"""

import json
import secrets
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from configs.page import LEADS
from digitization.digitizer import UNSURE_LEAD
from prediction.templates import FOLDER as REPORT_TEMPLATES
from prediction.templates import environment as report_environment
from review.picture import describe_page, draw_photo, list_grid, sheet_of
from review.record import SAVED
from review.session import Desk, OpenPage
from review.store import Entry, Stale, is_finished, page_id
from utils.command import describe_error, log

HERE = Path(__file__).parent
STATIC = {
    "review.js": (HERE / "static" / "review.js", "text/javascript"),
    "review.css": (HERE / "static" / "review.css", "text/css"),
    "paper.css": (REPORT_TEMPLATES / "paper.css", "text/css"),
}
MAX_BODY = 256 * 1024  # bytes of the longest request: 400 points take 20 kB
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LAYOUTS = (  # offered by name; any other that configs.layouts.find_layout knows may be typed
    *("3x4", "3x4+II", "3x4+V1", "3x4+V1+II", "3x4+V1+II+V5", "6x2", "6x2+II", "12x1"),
    *("6x1-limb", "6x1-chest", "3x2-limb", "3x2-chest", "II", "V1+II", "II+V1+V5"),
    *("cabrera-3x4", "cabrera-3x4+II", "cabrera-6x2", "cabrera-12x1"),
)
HTTP_PORT = 80  # which browsers leave out of addresses
MAX_LISTED = 1000  # pages in the list; others follow once these are accepted
SPEEDS, GAINS = (12.5, 25, 50), (5, 10, 20)  # mm/s and mm/mV that are offered


class Guard:
    """Lets through only what comes from this server's own pages, see the module's docstring."""

    def __init__(self, app: ASGIApp, token: str, port: int):
        self.app, self.token, self.cookie = app, token, cookie_name(port)
        suffix = "" if port == HTTP_PORT else f":{port}"
        self.hosts = {f"127.0.0.1{suffix}", f"localhost{suffix}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        request = Request(scope)
        if refusal := self.refuse(request):
            response: Response = HTMLResponse(
                templates().get_template("refused.html").render(reason=refusal), 403, HEADERS
            )
            await response(scope, receive, send)
            return
        if given := request.query_params.get("token"):
            assert given
            response = RedirectResponse("/", 303, HEADERS)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
            await response(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                named = {name.lower() for name, _ in message["headers"]}
                more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in more if pair[0] not in named)]
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def refuse(self, request: Request) -> str:
        """Why a request is not let through, or ""."""
        if request.headers.get("host") not in self.hosts:
            return "the request names another host"
        origin = request.headers.get("origin")
        if origin is not None and origin.removeprefix("http://") not in self.hosts:
            return "the request comes from another site"
        if request.method == "POST" and origin is None:
            return "the request does not say from which site it comes"
        given = request.query_params.get("token") if request.method == "GET" else None
        given = given or request.cookies.get(self.cookie, "")
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return "open the address that review.py printed, with its token"
        return ""


def cookie_name(port: int) -> str:
    """Cookies are shared by all ports of a host: each server has its own."""
    return f"review-{port}"


@cache
def templates() -> Environment:
    loader = ChoiceLoader([FileSystemLoader(HERE / "templates"), FileSystemLoader(REPORT_TEMPLATES)])
    return report_environment().overlay(loader=loader)


def build_app(desk: Desk, token: str, port: int, who: str) -> Starlette:
    """The web application over the pages of a desk; `who` is noted with what is saved."""
    pages = ReviewPages(desk, who)
    routes = [
        Route("/", pages.list_pages),
        Route("/page/{page_id}", pages.show),
        Route("/page/{page_id}/state", pages.state),
        Route("/page/{page_id}/grid", pages.grid),
        Route("/page/{page_id}/sheet.jpg", pages.sheet),
        Route("/page/{page_id}/photo.jpg", pages.photo),
        Route("/page/{page_id}/act", pages.act, methods=["POST"]),
        Route("/page/{page_id}/save", pages.save, methods=["POST"]),
        Route("/static/{name}", static),
        Route("/favicon.ico", no_icon),
    ]
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        HTTPException: show_error,
        ValueError: show_error,
        OSError: show_error,
    }
    guard = Middleware(Guard, token=token, port=port)
    return Starlette(routes=routes, middleware=[guard], exception_handlers=handlers)


async def static(request: Request) -> Response:
    if request.path_params["name"] not in STATIC:
        raise HTTPException(404, "no such file")
    path, kind = STATIC[request.path_params["name"]]
    return Response(path.read_bytes(), media_type=kind)


async def no_icon(request: Request) -> Response:
    """Browsers ask for an icon; there is none."""
    return Response(status_code=204)


async def show_error(request: Request, error: Exception) -> Response:
    """What went wrong, as a sentence: JSON for the script, a page for people."""
    status = error.status_code if isinstance(error, HTTPException) else 422
    reason = str(error.detail) if isinstance(error, HTTPException) else describe_error(error)
    if request.method == "POST" or "state" in request.url.path:
        return JSONResponse({"status": "refused", "reason": reason}, status)
    return HTMLResponse(templates().get_template("refused.html").render(reason=reason), status)


async def read_json(request: Request) -> dict:
    """The JSON object that a request carries. Raises HTTPException for anything else."""
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise HTTPException(415, "only JSON is taken")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise HTTPException(413, "too large")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "not JSON") from None
    if not isinstance(values, dict) or not isinstance(values.get("revision"), int):
        raise HTTPException(400, "not a request of these pages")
    return values


class ReviewPages:
    """The handlers of requests. Everything that computes runs in the desk's thread, one thing at a time."""

    def __init__(self, desk: Desk, who: str):
        self.desk, self.who = desk, who
        self.order: list[str] = []  # names of the pages in the list as it was shown last

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await run_in_threadpool(lambda: self.desk.thread.submit(function, *arguments).result())

    def entry(self, request: Request) -> Entry:
        entry = self.desk.store.find(request.path_params["page_id"])
        if entry is None:
            raise HTTPException(404, "this page is not in the run any more")
        return entry

    async def opened(self, request: Request) -> OpenPage:
        """The page of a request, once it is open."""
        future = self.desk.open(self.entry(request))
        return await run_in_threadpool(future.result)

    async def list_pages(self, request: Request) -> Response:
        store = self.desk.store
        self.order = await run_in_threadpool(store.order)
        entries = await run_in_threadpool(store.entries, MAX_LISTED)
        reviewed = sum(is_finished(row) for row in store.journal.rows.values())
        text = templates().get_template("list.html").render(
            folder=str(store.folder), entries=entries, saved=SAVED, finished=is_finished, reviewed=reviewed,
            total=len(self.order),
        )  # fmt: skip
        return HTMLResponse(text)

    async def show(self, request: Request) -> Response:
        entry = self.entry(request)
        if entry.name not in self.order:
            self.order = await run_in_threadpool(self.desk.store.order)
        place = self.order.index(entry.name)
        around = {"previous": place - 1, "next": place + 1}
        links = {
            name: page_id(self.order[index]) if 0 <= index < len(self.order) else ""
            for name, index in around.items()
        }
        rows = self.desk.store.read_table().rows
        after = rows.get(self.order[place + 1]) if place + 1 < len(self.order) else None
        ahead = after is not None and not is_finished(after)
        text = templates().get_template("page.html").render(
            entry=entry, ahead=links["next"] if ahead else "", number=place + 1, total=len(self.order),
            links=links, layouts=LAYOUTS,
            speeds=SPEEDS, gains=GAINS, leads=LEADS, min_confidence=UNSURE_LEAD,
        )  # fmt: skip
        return HTMLResponse(text)

    async def state(self, request: Request) -> Response:
        """The page as it is shown, or that it is not open yet."""
        future = self.desk.open(self.entry(request))
        if not future.done():
            return JSONResponse({"status": "loading"})
        if error := future.exception():
            if not isinstance(error, (ValueError, OSError)):
                log.warning(f"warning: {type(error).__name__}: {error}")
            return JSONResponse({"status": "failed", "reason": str(error) or type(error).__name__})
        return JSONResponse(await self.in_thread(describe_page, future.result()))

    async def grid(self, request: Request) -> Response:
        return JSONResponse(list_grid(await self.opened(request)))

    async def sheet(self, request: Request) -> Response:
        page = await self.opened(request)
        if page.shown is None:
            raise HTTPException(404, "no page is found")
        picture, _ = await self.in_thread(sheet_of, page)
        return Response(picture, media_type="image/jpeg")

    async def photo(self, request: Request) -> Response:
        picture = await self.in_thread(draw_photo, await self.opened(request))
        return Response(picture, media_type="image/jpeg")

    async def act(self, request: Request) -> Response:
        values = await read_json(request)
        page = await self.opened(request)
        try:
            await self.in_thread(self.desk.act, page, values.get("action"), values["revision"])
        except Stale as error:
            return await self.stale(request, error)
        return JSONResponse(await self.in_thread(describe_page, page))

    async def stale(self, request: Request, error: Stale) -> Response:
        """The page as it is now, opened again if it was changed by another server."""
        state = await self.in_thread(describe_page, await self.opened(request))
        return JSONResponse(state | {"status": "stale", "problem": str(error)}, 409)

    async def save(self, request: Request) -> Response:
        """Save a page, accept it or not; of one that cannot be read, accept that."""
        values = await read_json(request)
        if not isinstance(values.get("accept"), bool):
            raise HTTPException(400, "not a request of these pages")
        page = await self.opened(request)
        try:
            if page.shown is None and values["accept"]:
                await self.in_thread(self.desk.set_aside, page, values["revision"], self.who)
            else:
                await self.in_thread(self.desk.save, page, values["revision"], self.who, values["accept"])
        except Stale as error:
            return await self.stale(request, error)
        return JSONResponse(await self.in_thread(describe_page, page))
