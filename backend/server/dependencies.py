"""Parts that the routes share: access to the running app's state, errors as JSON, bodies and file headers."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.requests import HTTPConnection

from backend.server.page_files import PageFiles
from backend.session.context import Context
from backend.session.manager import SessionManager
from backend.session.workers import RETRY_SECONDS, Busy
from backend.wire.server_messages import ErrorCode

log = logging.getLogger(__name__)

T = TypeVar("T")


class ApiError(Exception):
    """An error that a request is answered with: status, the same code as on the socket, and a message."""

    def __init__(self, status: int, code: ErrorCode | str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after

    def answer(self) -> Response:
        """Return the response."""
        headers = None if self.retry_after is None else {"retry-after": f"{self.retry_after:g}"}
        return JSONResponse({"code": self.code, "message": self.message}, self.status, headers)


# The dependencies are coroutines: FastAPI runs plain functions in a thread.
async def get_context(connection: HTTPConnection) -> Context:
    """Return the context that all sessions of the running app share."""
    context: Context = connection.app.state.context
    return context


async def get_manager(connection: HTTPConnection) -> SessionManager:
    """Return the running app's session manager."""
    manager: SessionManager = connection.app.state.manager
    return manager


async def get_page_files(connection: HTTPConnection) -> PageFiles:
    """Return the page's files."""
    files: PageFiles = connection.app.state.page
    return files


ContextDep = Annotated[Context, Depends(get_context)]
ManagerDep = Annotated[SessionManager, Depends(get_manager)]
PageFilesDep = Annotated[PageFiles, Depends(get_page_files)]


def add_error_handlers(app: FastAPI) -> None:
    """Have errors of routes and of their parameters answered as JSON with `code` and `message`."""

    @app.exception_handler(ApiError)
    async def answer_api_error(_request: Request, error: ApiError) -> Response:
        return error.answer()

    @app.exception_handler(Busy)
    async def answer_busy(_request: Request, _error: Busy) -> Response:
        message = f"the server is busy with other files; try again in {RETRY_SECONDS} s"
        return ApiError(503, "busy", message, retry_after=RETRY_SECONDS).answer()

    @app.exception_handler(RequestValidationError)
    async def answer_validation_error(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        message = f"{first['loc'][-1]}: {first['msg'][0].lower()}{first['msg'][1:]}"
        return JSONResponse({"code": "bad_message", "message": message}, 400)


async def read_body(request: Request, limit: int, name: str) -> bytes:
    """Return the body; `name` says what it is.

    Raises ApiError if it has more than `limit` bytes, and Busy if all uploads on their way together have too many.
    """
    context: Context = request.app.state.context
    workers = context.workers
    data = bytearray()
    try:
        async for part in request.stream():
            workers.take_bytes(len(part))
            data += part
            if len(data) > limit:
                raise ApiError(413, "too_large", f"{name} may have {limit} bytes")
        return bytes(data)
    finally:
        workers.release_bytes(len(data))


async def in_thread(
    context: Context, read: Callable[..., T], *arguments: Any, status: int = 409, code: str = "not_ready"
) -> T:
    """Return the result of a blocking function, run in a thread. Raises ApiError for a LookupError, and Busy."""
    try:
        return await context.workers.run(read, *arguments)
    except LookupError as error:
        raise ApiError(status, code, str(error.args[0])) from None


def not_kept(error: OSError, name: str) -> ApiError:
    """Return the error of a file that could not be written; `name` says what it is."""
    log.warning("%s could not be kept: %s", name, error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return ApiError(507 if full else 500, "no_space" if full else "not_kept", f"{name} could not be kept")


def attachment(name: str) -> dict[str, str]:
    """Return the headers of a file that a browser is to save under a name."""
    return {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
