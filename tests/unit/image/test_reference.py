"""References are read as Docker reads them."""

from __future__ import annotations

import pytest

from layerline.engine.image.reference import Reference
from layerline.errors import InvalidReference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:bookworm-slim", "docker.io/library/debian:bookworm-slim"),
        ("me/app:1", "docker.io/me/app:1"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t"),
        ("[::1]:5000/a:t", "[::1]:5000/a:t"),
        ("registry.example/a/b/c", "registry.example/a/b/c:latest"),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}"),
        (f"debian:12@{DIGEST}", f"docker.io/library/debian:12@{DIGEST}"),
    ],
)
def test_short_names_become_full_ones(text: str, canonical: str) -> None:
    assert Reference.parse(text).with_default_tag().canonical() == canonical
    assert Reference.parse(canonical).canonical() == canonical


def test_no_tag_is_made_up_while_reading() -> None:
    assert Reference.parse("debian").tag is None


@pytest.mark.parametrize(
    "text",
    [
        *("", ":tag", "a:", "a@", "Not A Reference", "a//b", "/a", "a/", "a b", "a:t:u", "-a"),
        *(
            "a@sha256:12",
            f"a@{DIGEST.upper()}",
            f"a@sha512:{'0' * 128}",
            "a/../b",
            "a:" + "t" * 129,
        ),
        *("http://host/a", "host:port/a", "a/" + "b" * 300, "a\n", "ä"),
    ],
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match="invalid reference format"):
        Reference.parse(text)


def test_upper_case_is_named_as_the_reason() -> None:
    with pytest.raises(InvalidReference, match="must be lowercase"):
        Reference.parse("me/App")
