"""The application: routes, errors and the page of the studio."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

from foleyflow import __version__
from foleyflow.errors import DataError, FoleyflowError, MediaError
from foleyflow.studio.access import AccessControl, Keys
from foleyflow.studio.analysing import resume
from foleyflow.studio.jobs import describe_problem
from foleyflow.studio.problems import Problem
from foleyflow.studio.routes_cues import cue_routes
from foleyflow.studio.routes_exports import export_routes
from foleyflow.studio.routes_media import media_routes
from foleyflow.studio.routes_projects import project_routes
from foleyflow.studio.sounds import PeakCache
from foleyflow.studio.studio import Studio
from foleyflow.system.memory import memory_error_of
from foleyflow.system.printable import printable

logger = logging.getLogger(__name__)

API = "/api/v1"
PAGE = Path(__file__).parent / "page"
NO_SPACE = (28, 122)  # ENOSPC, EDQUOT
_NOT_BUILT = "The page is not built yet: run `make setup` with npm installed, then reload."


def make_app(
    studio: Studio, keys: Keys, hosts: Iterable[str], *, port: int, page: Path = PAGE
) -> ASGIApp:
    """The application with its access control.

    Args:
        studio: whose projects it serves.
        keys: with which requests are allowed.
        hosts: values of `Host` that name the server.
        port: of the server.
        page: folder of the built page.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        studio.decoding.prepare()
        resume(studio)
        yield
        studio.close()

    app = FastAPI(
        title="foleyflow studio",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.studio = studio
    app.state.peaks = PeakCache(studio)
    for routes in (project_routes, cue_routes, media_routes, export_routes):
        app.include_router(routes, prefix=API)
    _add_errors(app)
    _add_pages(app, page)
    return AccessControl(app, keys, hosts, port=port)


def _add_errors(app: FastAPI) -> None:
    """Answers all errors with {"error", "hint"}."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return _error(400, f"{printable(place)}: {first['msg']}", "see /api/v1/docs")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        texts = {404: "there is no such address", 405: "the address has other methods"}
        text = texts.get(error.status_code, str(error.detail))
        return _error(error.status_code, text, "see /api/v1/docs", headers=error.headers)

    @app.exception_handler(Exception)
    @app.exception_handler(FoleyflowError)
    @app.exception_handler(OSError)
    async def failed(request: Request, problem: Exception) -> Response:
        described = describe_problem(problem)
        return _error(status_of(problem), described["error"], described["hint"])


def status_of(problem: Exception) -> int:
    """The HTTP status of an error."""
    if isinstance(problem, Problem):
        return problem.status
    if isinstance(problem, MediaError | DataError):
        return 422
    if memory_error_of(problem) is not None:
        return 503
    if isinstance(problem, FoleyflowError):
        return 400 if problem.exit_status == 2 else 503
    return 507 if isinstance(problem, OSError) and problem.errno in NO_SPACE else 500


def _error(status: int, error: str, hint: str, headers: Any = None) -> Response:
    return JSONResponse({"error": error, "hint": hint}, status, headers=headers)


def _add_pages(app: FastAPI, page: Path) -> None:
    """The page of the studio, and a list of the requests."""

    @app.get(f"{API}/docs", include_in_schema=False)
    def docs() -> Response:
        rows = []
        for address, methods in app.openapi()["paths"].items():
            for method, found in methods.items():
                cells = (method.upper(), address, found.get("description", ""))
                rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        table = "".join(f"<tr>{row}</tr>" for row in rows)
        return HTMLResponse(
            "<!doctype html><html lang=en><meta charset=utf-8><title>foleyflow studio</title>"
            f"<h1>Requests</h1><p>docs/http.md describes them.<table>{table}</table></html>"
        )

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        if (page / "index.html").is_file():
            return FileResponse(page / "index.html", headers={"cache-control": "no-cache"})
        return HTMLResponse(
            "<!doctype html><html lang=en><meta charset=utf-8><title>foleyflow studio</title>"
            f"<p>{_NOT_BUILT}</html>",
            503,
        )

    @app.get("/{path:path}", include_in_schema=False)
    def asset(path: str) -> Response:
        known = {file.relative_to(page).as_posix(): file for file in page.rglob("*")}
        file = known.get(path)
        if file is None or not file.is_file() or file.is_symlink():
            raise HTTPException(404)
        return FileResponse(file)
