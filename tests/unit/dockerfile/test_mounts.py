"""The `--mount=` flags of RUN."""

from __future__ import annotations

import pytest

from layerline.engine.dockerfile.mounts import MountFlag, mount_stage, parse_mount
from layerline.errors import QueryError


def parse(text: str) -> MountFlag:
    return parse_mount(text, lambda word: word.replace("$X", "/x"))


def test_a_bind_mount_is_the_default_and_takes_variables() -> None:
    assert parse("source=a,dst=$X,rw") == MountFlag(source="a", target="/x", readonly=False)


def test_a_cache_goes_by_its_id_or_by_its_target() -> None:
    assert parse("type=cache,target=/c/").cache_key == "/c"
    assert parse("type=cache,target=/c,id=i,sharing=locked").cache_key == "i"


def test_a_cache_has_an_owner_and_a_mode() -> None:
    flag = parse("type=cache,target=/c,uid=5,gid=6,mode=0711")
    assert (flag.owner, flag.mode) == ("5:6", 0o711)


def test_a_secret_goes_by_id_source_or_target() -> None:
    assert parse("type=secret,id=a,target=/b").secret_name == "a"
    assert parse("type=secret,target=/run/b").secret_name == "b"
    assert parse("type=secret,id=a,env=A,required").required


@pytest.mark.parametrize(("text", "size"), [("64m", 64 << 20), ("1.5KiB", 1536), ("7", 7)])
def test_sizes(text: str, size: int) -> None:
    assert parse(f"type=tmpfs,target=/t,size={text}").size == size


def test_a_stage_is_known_before_variables_are() -> None:
    assert mount_stage("type=bind,from=one,target=$X") == "one"
    with pytest.raises(QueryError, match="doesn't support variable expansion"):
        mount_stage("from=$X")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=wat,target=/x", 'unsupported mount type "wat"'),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("wat=1,target=/x", "unexpected key 'wat' in 'wat=1'"),
        ("type=bind,target=/x,uid=1", "unexpected key 'uid' for mount type 'bind'"),
        ("type=cache,target=/x,sharing=x", 'unsupported sharing value "x"'),
        ("type=cache,target=/x,mode=9", "invalid value 9 for mode"),
        ("type=tmpfs,target=/x,size=much", "invalid value for size: much"),
        ("type=bind,target=/x,ro=maybe", "invalid value for ro: maybe"),
        ("type=secret,from=a,id=b", "secret mount should not have a from"),
        ("type=secret", "one of source, target required"),
        ("type=cache", "a target is required"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert message in str(caught.value)
