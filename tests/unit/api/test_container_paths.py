"""A container's paths lead into its root file system or into a mount, and never out of either."""

from __future__ import annotations

import pytest

from layerline.engine.api import container_paths
from layerline.engine.api.objects import Container
from layerline.engine.image.config import ImageConfig
from layerline.engine.solve import ops
from layerline.errors import PathError, QueryError

FILES = ops.NewFile(base=ops.Scratch(), path="/sub/f", data=b"x")


def a_container(
    *mounts: ops.Mount, workdir: str = "", env: tuple[tuple[str, str], ...] = ()
) -> Container:
    return Container(
        config=ImageConfig(workdir=workdir, env=env), rootfs=ops.Scratch(), mounts=mounts
    )


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("a", "/w/a"),
        ("/a", "/a"),
        ("../x", "/x"),
        ("../../../x", "/x"),
        (".", "/w"),
        ("d/", "/w/d/"),
        ("//a", "/a"),
    ],
)
def test_relative_paths_are_under_the_workdir(path: str, where: str) -> None:
    assert container_paths.absolute(a_container(workdir="/w"), path) == where


def test_variables_are_expanded_only_when_asked() -> None:
    container = a_container(env=(("X", "v"),))
    assert container_paths.expand_variables(container, "$X:${X}:$NOPE:", expand=True) == "v:v::"
    assert container_paths.expand_variables(container, "$X", expand=False) == "$X"


def test_a_secret_variable_is_not_expanded() -> None:
    container = Container(config=ImageConfig(), secret_env=(("S", ops.SecretRef(identity="i")),))
    with pytest.raises(QueryError, match='secret env variable "S"'):
        container_paths.expand_variables(container, "$S", expand=True)


def test_the_innermost_mount_is_read() -> None:
    outer = ops.DirectoryMount(target="/m", source=ops.Scratch())
    inner = ops.DirectoryMount(target="/m/in", source=FILES, path="/sub")
    assert container_paths.source(a_container(outer, inner), "/m/in/f") == (FILES, "/sub/f")
    assert container_paths.source(a_container(outer, inner), "/m/inner") == (outer.source, "/inner")


def test_a_cache_cannot_be_read() -> None:
    mount = ops.CacheMount(target="/c", volume="v")
    with pytest.raises(PathError, match="cannot retrieve path from cache"):
        container_paths.source(a_container(mount), "/c/x")


def test_a_change_in_a_mount_leaves_the_root_alone() -> None:
    mount = ops.DirectoryMount(target="/m", source=FILES, path="/sub")
    container = a_container(mount)
    changed = container_paths.change_at(
        container, "/m/new", lambda base, path, _: ops.NewDirectory(base=base, path=path)
    )
    assert changed.rootfs is container.rootfs
    (after,) = changed.mounts
    assert isinstance(after, ops.DirectoryMount)
    assert after.source.key == ops.NewDirectory(base=FILES, path="/sub/new").key


def test_a_later_mount_replaces_those_at_and_below_its_path() -> None:
    container = a_container(
        ops.TemporaryMount(target="/m"),
        ops.TemporaryMount(target="/m/x"),
        ops.TemporaryMount(target="/mm"),
    )
    after = container_paths.add_mount(container, ops.TemporaryMount(target="/m", size=1))
    assert [mount.target for mount in after.mounts] == ["/mm", "/m"]


@pytest.mark.parametrize(
    ("path", "where"),
    [("a", "/d/a"), ("/a", "/d/a"), ("../../a", "/d/a"), ("a/", "/d/a/"), ("", "/d"), (".", "/d")],
)
def test_a_path_in_a_directory_cannot_leave_it(path: str, where: str) -> None:
    assert container_paths.under("/d", path) == where
