"""The one file of a multipart/form-data body, kept in memory and never on disk.

The root file system may be read-only and /tmp absent, and the layers in front have bounded the
bytes. What is bounded here is the number of parts and the size of their headers.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ct_scan_mlops.web.problems import BadRequest, MediaTypeRefused, Problem

PREDICT = "/predict"
MOST_PARTS = 8
MOST_HEADER_BYTES = 4096
FIELD = "file"
HOW = f"Send multipart/form-data with one field {FIELD!r}, as `curl -F {FIELD}=@slice.dcm` does."

DOCUMENTED_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


@dataclass(slots=True, kw_only=True)
class _Form:
    """The state between the parser's calls."""

    parts: int = 0
    header_name: bytes = b""
    header_value: bytes = b""
    disposition: bytes = b""
    wanted: bool = False
    found: bool = False
    complete: bool = False
    content: BytesIO = field(default_factory=BytesIO)

    def part_begins(self) -> None:
        self.parts += 1
        if self.parts > MOST_PARTS:
            _refuse(f"The form has more than {MOST_PARTS} parts.")
        self.disposition = b""

    def header_name_continues(self, data: bytes, start: int, end: int) -> None:
        self.header_name += data[start:end]

    def header_value_continues(self, data: bytes, start: int, end: int) -> None:
        self.header_value += data[start:end]

    def header_ends(self) -> None:
        if self.header_name.lower() == b"content-disposition":
            self.disposition = self.header_value
        self.header_name = self.header_value = b""

    def headers_end(self) -> None:
        _, options = parse_options_header(self.disposition)
        self.wanted = options.get(b"name") == FIELD.encode() and b"filename" in options
        if self.wanted and self.found:
            _refuse(f"The form has more than one file {FIELD!r}.")
        self.found = self.found or self.wanted

    def ends(self) -> None:
        self.complete = True

    def data_continues(self, data: bytes, start: int, end: int) -> None:
        if self.wanted:
            self.content.write(memoryview(data)[start:end])


async def read_file(content_type: str, chunks: AsyncIterator[bytes]) -> bytes:
    """The bytes of the field `file`; raises a Problem that says what is wrong with the form."""
    form = _Form()
    parser = _parser(content_type, form)
    try:
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        _refuse("The body is not well-formed multipart/form-data.")
    if not form.complete:
        _refuse("The form breaks off before its closing boundary.")
    if not form.found:
        _refuse(f"The form has no file {FIELD!r}.")
    return form.content.getvalue()


def _parser(content_type: str, form: _Form) -> MultipartParser:
    media_type, options = parse_options_header(content_type)
    if media_type != b"multipart/form-data":
        _refuse("The body is not multipart/form-data.", MediaTypeRefused)
    boundary = options.get(b"boundary")
    if not boundary:
        _refuse("The Content-Type has no boundary.")
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": form.part_begins,
                "on_header_field": form.header_name_continues,
                "on_header_value": form.header_value_continues,
                "on_header_end": form.header_ends,
                "on_headers_finished": form.headers_end,
                "on_part_data": form.data_continues,
                "on_end": form.ends,
            },
            max_header_count=MOST_PARTS,
            max_header_size=MOST_HEADER_BYTES,
        )
    except FormParserError:
        _refuse("The boundary is too long.")


def _refuse(error: str, problem: type[Problem] = BadRequest) -> NoReturn:
    raise problem(error, HOW)
