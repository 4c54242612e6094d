"""Pinned requirements as uv writes them."""

from __future__ import annotations

import pytest

from layerline.engine.module.locks import (
    is_plain_requirement,
    pins,
    without_versions,
)

LOCK = """\
# by uv
-e ./sdk
./lib
dagger-io==0.18.0 \\
    --hash=sha256:aa
attrs==23.1 ; python_version < '3.12' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via main
httpx[http2]==0.27.0
thing @ https://example.com/thing-1.0.tar.gz
"""


def test_the_sdk_and_paths_are_left_out_with_all_that_belongs_to_them() -> None:
    assert pins(LOCK) == (
        "attrs==23.1 ; python_version < '3.12' --hash=sha256:bb --hash=sha256:cc\n"
        "httpx[http2]==0.27.0\n"
        "thing @ https://example.com/thing-1.0.tar.gz\n"
    )


def test_a_requirement_without_its_version_keeps_extras_markers_and_address() -> None:
    assert without_versions(pins(LOCK)) == (
        "attrs ; python_version < '3.12'\n"
        "httpx[http2]\n"
        "thing @ https://example.com/thing-1.0.tar.gz\n"
    )


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("numpy", True),
        ("numpy[extra]>=1.26,<3; python_version >= '3.11'", True),
        ("--build", False),
        ("--editable=/x", False),
        ("-e file:///x", False),
        (" -e file:///x", False),
        ("-r /etc/shadow", False),
        ("--target=/etc", False),
        ("--index-url http://127.0.0.1:1/", False),
        ("x @ http://127.0.0.1:1/x.whl", False),
        ("x @ file:///x", False),
        ("./x", False),
        ("/x", False),
    ],
)
def test_uv_on_the_host_meets_names_and_versions_alone(text: str, *, plain: bool) -> None:
    """PEP 508; an option among them would be one of uv's."""
    assert is_plain_requirement(text) is plain
