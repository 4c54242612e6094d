"""The JSON of an answer. A large text in it is encoded and sent in pieces, so it is held once.

An output of 256 MiB would otherwise be held as text, as JSON, as bytes, and by the transport.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGE = 1 << 16  # characters
_PIECE = 1 << 18
# JSON escapes U+0000, so what stands for a text in the encoded answer is nothing that it contains.
_MARK = "\0text {}\0"
_ENCODED_MARK = re.compile(r'"\\u0000text (\d+)\\u0000"')


def encode(body: dict[str, Any]) -> Iterator[bytes | memoryview]:
    """The pieces of the JSON; lone surrogates become question marks. Large texts leave `body`."""
    texts: list[str] = []
    _take_texts(body, texts)
    encoded = json.dumps(body, ensure_ascii=False)
    if not texts:
        yield encoded.encode(errors="replace")
        return
    start = 0
    for mark in _ENCODED_MARK.finditer(encoded):
        yield encoded[start : mark.start()].encode(errors="replace")
        yield from _encode_text(texts[int(mark[1])])
        start = mark.end()
    yield encoded[start:].encode(errors="replace")


def _encode_text(text: str) -> Iterator[bytes | memoryview]:
    """Each character is escaped by itself, so a text may be cut anywhere."""
    yield b'"'
    for start in range(0, len(text), _PIECE):
        piece = json.dumps(text[start : start + _PIECE], ensure_ascii=False)
        yield memoryview(piece.encode(errors="replace"))[1:-1]
    yield b'"'


def _take_texts(body: dict[str, Any], texts: list[str]) -> None:
    pending: list[Any] = [body]
    while pending:
        value = pending.pop()
        for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
            if isinstance(item, str) and (len(item) > _LARGE or item.startswith("\0")):
                value[key] = _MARK.format(len(texts))
                texts.append(item)
            elif isinstance(item, dict | list):
                pending.append(item)
