"""What a client is told when it gets no answer: what happened and what to do next, as JSON.

Nothing of the machine goes into it: no path, no traceback, no variable of the environment. Each
exception that may leave a route has its status here.
"""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect


class Problem(Exception):
    """An answer other than the one that was asked for. The class sets the status."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, error: str, what_next: str, *, retry_after: int | None = None) -> None:
        super().__init__(error)
        self.error = error
        self.what_next = what_next
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        return problem_response(self.status, self.error, self.what_next, headers)


class BadRequest(Problem):
    """The request is not what HTTP or multipart/form-data prescribes, or lacks the file."""

    status = HTTPStatus.BAD_REQUEST


class BodyTooSlow(Problem):
    """The body did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT


class BodyTooLarge(Problem):
    """The body is above the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class MediaTypeRefused(Problem):
    """Of a type that this API does not read."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Overloaded(Problem):
    """There is no place for this request; the next one may find one."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class NotReady(Problem):
    """What is needed for an answer is not there yet."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


def answer_problems(app: FastAPI) -> None:
    """Let the application answer each exception as JSON, the unforeseen ones too."""
    app.add_exception_handler(Problem, _of_problem)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(ClientDisconnect, _of_the_gone)
    app.add_exception_handler(Exception, _of_the_unforeseen)


async def _of_problem(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, Problem)
    return exc.response()


async def _of_validation(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)
    names = sorted({str(error["loc"][-1]) for error in exc.errors()})
    error = f"Not understood: {', '.join(names)}."
    return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, error, "See /openapi.json.")


async def _of_http(_: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)
    headers = dict(exc.headers or {})
    return problem_response(exc.status_code, f"{exc.detail}.", "See /openapi.json.", headers)


async def _of_the_gone(_: Request, exc: Exception) -> Response:
    """Nobody reads it: a client that goes away in the middle of its body is no failure of ours."""
    del exc
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _of_the_unforeseen(_: Request, exc: Exception) -> JSONResponse:
    """The exception itself is raised on, and so goes to the log."""
    del exc
    error = "The service failed on this request."
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, error, "Its log says why.")


def problem_response(
    status: int, error: str, what_next: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """The form that every refusal has."""
    return JSONResponse({"error": error, "what next": what_next}, status, headers)
