"""Names lead to stages, and only what a target needs is asked for."""

from __future__ import annotations

import pytest

from layerline.engine.dockerfile.parser import parse
from layerline.engine.dockerfile.stages import Stages
from layerline.errors import QueryError


def stages(text: str) -> Stages:
    return Stages(parse(text).stages)


def test_the_last_stage_is_the_target_unless_one_is_named() -> None:
    found = stages("FROM a AS One\nFROM b\n")
    assert found.target("") == 1
    assert found.target("ONE") == 0
    with pytest.raises(QueryError, match='target stage "nope" could not be found'):
        found.target("nope")


def test_a_from_means_an_earlier_stage_or_an_image() -> None:
    found = stages("FROM b AS a\nFROM a AS b\nFROM b AS b\n")
    assert [found.base(number) for number in range(3)] == [None, 0, 1]


def test_a_source_is_a_stage_by_name_or_number_or_an_image() -> None:
    found = stages("FROM x AS one\nFROM y\n")
    assert found.source("ONE", 1) == 0
    assert found.source("0", 1) == 0
    assert found.source("debian:12", 1) is None


def test_only_the_images_of_needed_stages_are_wanted() -> None:
    found = stages(
        "FROM x AS one\nFROM unneeded AS two\nFROM --platform=linux/arm64 y\n"
        "COPY --from=one /a /b\nRUN --mount=from=z,target=/z true\n"
    )
    assert found.images(2) == {("x", ""), ("y", "linux/arm64"), ("z", "")}


def test_scratch_is_no_image() -> None:
    assert stages("FROM scratch\n").images(0) == set()


@pytest.mark.parametrize(
    "text",
    [
        "FROM x AS a\nCOPY --from=b / /\nFROM x AS b\nCOPY --from=a / /\n",
        "FROM x AS a\nCOPY --from=a / /\n",
        "FROM x AS a\nCOPY --from=0 / /\n",
    ],
)
def test_stages_may_not_need_each_other(text: str) -> None:
    with pytest.raises(QueryError, match="circular dependency detected on stage: a"):
        stages(text).check_circles()


def test_a_later_stage_is_no_source() -> None:
    found = stages("FROM x\nCOPY --from=b / /\nFROM x AS b\n")
    with pytest.raises(QueryError, match='cannot copy from stage "b"'):
        found.images(0)


def test_a_number_beyond_the_stages_is_refused() -> None:
    with pytest.raises(QueryError, match="invalid stage index 9"):
        stages("FROM x\nCOPY --from=9 / /\n").check_circles()


def test_a_source_takes_no_variables() -> None:
    with pytest.raises(QueryError, match="variable expansion is not supported for --from"):
        stages("FROM x\nCOPY --from=$A / /\n").check_circles()
