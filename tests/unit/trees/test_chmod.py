"""Permissions as chmod takes them."""

from __future__ import annotations

import pytest

from layerline.engine.trees.chmod import change_of, octal
from layerline.errors import QueryError


@pytest.mark.parametrize(
    ("text", "old", "is_dir", "new"),
    [
        ("640", 0o755, False, 0o640),
        ("u+x", 0o644, False, 0o744),
        ("a-w", 0o666, False, 0o444),
        ("go=", 0o777, False, 0o700),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o700, True, 0o755),
        ("+X", 0o644, True, 0o755),
        ("u+s,g+s,+t", 0o755, True, 0o7755),
        ("u-x+r", 0o300, False, 0o600),
    ],
)
def test_changes(text: str, old: int, is_dir: bool, new: int) -> None:  # noqa: FBT001
    assert change_of(text)(old, is_dir) == new


def test_only_octal_texts_are_a_mode() -> None:
    assert octal("0640") == 0o640
    assert octal("u+x") is None
    assert octal("") is None


@pytest.mark.parametrize("text", ["999", "17777", "u+q", "x", "u+x,", ""])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(QueryError, match="invalid chmod parameter"):
        change_of(text)
