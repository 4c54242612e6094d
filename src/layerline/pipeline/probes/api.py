"""The web framework takes a request, validates it and answers; no server is started."""

import json

import anyio
import fastapi
import pydantic
import uvicorn

app = fastapi.FastAPI()


class Scan(pydantic.BaseModel):
    """A request."""

    slices: int


def scan(body: Scan) -> dict[str, int]:
    """Answer with what was understood."""
    return {"slices": body.slices}


async def request_scan(body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer to a request, as a server would get them."""
    sent: list[dict[str, object]] = []
    scope = {"type": "http", "method": "POST", "path": "/scan", "query_string": b""}
    scope |= {"headers": [(b"content-type", b"application/json")], "http_version": "1.1"}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(str(sent[0]["status"])), bytes(sent[1]["body"])  # type: ignore[call-overload]


app.post("/scan")(scan)
status, body = anyio.run(request_scan, b'{"slices": 3}')
assert (status, json.loads(body)) == (200, {"slices": 3}), (status, body)
status, body = anyio.run(request_scan, b'{"slices": "many"}')
assert status == 422, (status, body)
print("fastapi", fastapi.__version__, "uvicorn", uvicorn.__version__)
