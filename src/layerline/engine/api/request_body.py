"""The body of a request: read within limits of size and time, and decoded to a query.

Invariant: no more than LARGEST_BODY bytes are held, and a body is refused before it is expanded to
objects.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import anyio
from starlette.requests import ClientDisconnect

from layerline.engine.api import request_limits as limits
from layerline.errors import LayerlineError, QueryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

# Possessive, and the last quote optional: neither a long nor an unterminated string is read twice.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_BEYOND_U_FFFF = re.compile(rb"[\xf0-\xf4]|\\u[dD][89abAB]")
_MOST_DRAINED = 4 * limits.LARGEST_BODY


class RequestRefused(LayerlineError):
    """A body that is too large or too slow; `status` is that of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RequestBody:
    """The body of one request, read once."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._complete = False

    async def document(self) -> dict[str, Any]:
        """The query, variables and operation name.

        Raises QueryError for a body that is not valid, RequestRefused for one that is too large or
        too slow.
        """
        return _decode(await self.read())

    async def drain(self) -> None:
        """Read what a refused client still sends, for a while: it reads its answer afterwards."""
        if "expect" in self._request.headers:  # It waits for a go-ahead that does not come.
            return
        left = _MOST_DRAINED
        with anyio.move_on_after(limits.DRAIN_SECONDS), contextlib.suppress(ClientDisconnect):
            async for chunk in self._chunks():
                left -= len(chunk)
                if left < 0:
                    return

    async def _chunks(self) -> AsyncIterator[bytes]:
        while not self._complete:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                self._complete = True
                raise ClientDisconnect
            self._complete = not message.get("more_body", False)
            yield message.get("body", b"")

    async def read(self) -> bytearray:
        """The body as it is; RequestRefused is raised if it is too large or too slow."""
        body = bytearray()
        declared = self._request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limits.LARGEST_BODY:
            raise _too_large()
        try:
            with anyio.fail_after(limits.BODY_SECONDS):
                async for chunk in self._chunks():
                    body += chunk
                    if len(body) > limits.LARGEST_BODY:
                        raise _too_large()
        except ClientDisconnect as exc:
            raise RequestRefused(499, "the client disconnected") from exc
        except TimeoutError as exc:
            message = f"the request's body took longer than {limits.BODY_SECONDS:g} seconds"
            raise RequestRefused(408, message) from exc
        if len(body) > limits.LARGEST_WIDE_BODY and _BEYOND_U_FFFF.search(body):
            raise _too_large(limits.LARGEST_WIDE_BODY, beyond_u_ffff=True)
        return body


def _too_large(
    largest: int = limits.LARGEST_BODY, *, beyond_u_ffff: bool = False
) -> RequestRefused:
    which = " with characters beyond U+FFFF" if beyond_u_ffff else ""
    message = (
        f"the request{which} is larger than {largest} bytes: "
        "pass large content as a file or a directory"
    )
    return RequestRefused(413, message)


def _decode(body: bytearray) -> dict[str, Any]:
    _check_structure(body)
    try:
        document = json.loads(body.decode())
    except ValueError as exc:
        message = f"json request body could not be decoded: {exc}"
        raise QueryError(message) from exc
    if not isinstance(document, dict) or not isinstance(document.setdefault("query", ""), str):
        message = "json request body could not be decoded: it holds no query"
        raise QueryError(message)
    if not isinstance(document.get("variables") or {}, dict):
        message = "variables must be an object"
        raise QueryError(message)
    if not isinstance(document.get("operationName") or "", str):
        message = "operationName must be a string"
        raise QueryError(message)
    return document


def _check_structure(body: bytearray) -> None:
    """Raise QueryError if the JSON has too many values or is nested too deeply to be parsed."""
    depth = 0
    for count, token in enumerate(_TOKEN.finditer(body)):
        if count > limits.MOST_JSON_TOKENS:
            message = (
                f"the request has more than {limits.MOST_JSON_TOKENS} strings, commas, brackets"
            )
            raise QueryError(message)
        kind = body[token.start()]
        if kind in b"[{":
            depth += 1
        elif kind in b"]}":
            depth -= 1
        if depth > limits.DEEPEST_JSON:
            message = f"the request is nested more than {limits.DEEPEST_JSON} levels deep"
            raise QueryError(message)
