"""The one file of a form, in whatever pieces it arrives."""

from collections.abc import AsyncIterator

import anyio
import pytest

from ct_scan_mlops.serving.uploads import MOST_PARTS, read_file
from ct_scan_mlops.web.problems import BadRequest, MediaTypeRefused, Problem

TYPE = "multipart/form-data; boundary=x"


def part(head: bytes, data: bytes = b"") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + data + b"\r\n"


def read(body: bytes, content_type: str = TYPE, piece: int = 7) -> bytes:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), piece):
            yield body[start : start + piece]

    async def run() -> bytes:
        return await read_file(content_type, pieces())

    return anyio.run(run)


FILE = part(b'name="file"; filename="a.png"', b"\r\n--y\r\nbytes\r\n")


@pytest.mark.parametrize("piece", [1, 2, 64, 10_000])
def test_a_file_is_the_same_in_pieces_of_any_size(piece: int) -> None:
    body = part(b'name="note"', b"said") + FILE + b"--x--\r\n"
    assert read(body, piece=piece) == b"\r\n--y\r\nbytes\r\n"


@pytest.mark.parametrize(
    ("body", "content_type", "problem", "reason"),
    [
        (b"{}", "application/json", MediaTypeRefused, "not multipart"),
        (b"{}", "", MediaTypeRefused, "not multipart"),
        (FILE, "multipart/form-data", BadRequest, "no boundary"),
        (FILE, f"multipart/form-data; boundary={'x' * 10_000}", BadRequest, "boundary is too long"),
        (b"nothing of the kind", TYPE, BadRequest, "not well-formed"),
        (FILE, TYPE, BadRequest, "breaks off"),
        (b"--x--\r\n", TYPE, BadRequest, "no file"),
        (FILE * 2 + b"--x--\r\n", TYPE, BadRequest, "more than one"),
        (part(b'name="a"') * (MOST_PARTS + 1), TYPE, BadRequest, "parts"),
        (b"--x\r\n" + b"A" * 100_000, TYPE, BadRequest, "not well-formed"),
        (b"--x\r\n" + b"A: b\r\n" * 10_000, TYPE, BadRequest, "not well-formed"),
    ],
)
def test_other_bodies_are_refused(
    body: bytes, content_type: str, problem: type[Problem], reason: str
) -> None:
    with pytest.raises(problem, match=reason):
        read(body, content_type, piece=1024)
