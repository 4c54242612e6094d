"""A secret that is in a file is found, also over the end of a chunk."""

from __future__ import annotations

from layerline.engine.cache.secret_search import holds_any, secret_lines

TEXT = b"machine packages.example\n login reader\n password hunter2hunter2\n"


def test_a_secret_and_its_longer_lines_are_looked_for() -> None:
    assert secret_lines([TEXT, b"ab \n"]) == {
        TEXT.strip(),
        b"machine packages.example",
        b"login reader",
        b"password hunter2hunter2",
        b"ab",
    }


def test_a_value_is_found_wherever_chunks_end() -> None:
    values = frozenset({b"hunter2hunter2", b"x"})
    text = b"before hunter2hunter2 after"
    for end in range(len(text)):
        assert holds_any([text[:end], text[end:]], values)
    assert holds_any([bytes([byte]) for byte in text], values)
    assert not holds_any([b"hunter2", b"", b"hunter"], values)
    assert not holds_any([text], frozenset())
