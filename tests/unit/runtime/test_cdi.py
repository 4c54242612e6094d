"""Specifications of the Container Device Interface: what is read, and whose.

Directories, suffixes, priorities and defaults are those of its Go package, version 1.0.0
(pkg/cdi/cache.go, spec.go, container-edits.go).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from layerline import command
from layerline.engine.runtime import cdi
from layerline.engine.runtime.cdi_files import edits_for
from layerline.engine.runtime.gpu_devices import gpu_devices
from layerline.engine.runtime.spec import ContainerSpec, Overlay
from layerline.errors import HostError
from layerline.settings import process_environ
from tests.conftest import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture
def place() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(dir="/run", prefix="layerline-cdi-"))
    yield made
    shutil.rmtree(made)


def document(name: str, path: str, kind: str = "nvidia.com/gpu") -> dict[str, Any]:
    device = {"name": name, "containerEdits": {"deviceNodes": [{"path": path}]}}
    return {"cdiVersion": "0.6.0", "kind": kind, "devices": [device]}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def paths(name: str, *directories: Path) -> list[str]:
    environ = {"LAYERLINE_CDI_SPEC_DIRS": ":".join(map(str, directories))}
    return [node.path for node in edits_for([name], environ).nodes]


def test_a_specification_in_yaml(place: Path) -> None:
    write(
        place / "nvidia.yaml",
        "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: '0'\n  containerEdits:\n"
        "    deviceNodes:\n    - path: /dev/gpu0\n      hostPath: /dev/null\n      type: c\n",
    )
    [node] = edits_for(["0"], {"LAYERLINE_CDI_SPEC_DIRS": str(place)}).nodes
    assert node == cdi.DeviceNode(path="/dev/gpu0", host_path="/dev/null", kind="c")


def test_the_second_directory_wins(place: Path) -> None:
    first, second = place / "etc", place / "run"
    write(first / "a.json", document("0", "/dev/old"))
    write(second / "b.json", document("0", "/dev/new"))
    write(second / "ignored.txt", "not a specification")
    write(second / "other.json", document("0", "/dev/disk", "vendor.com/disk"))
    assert paths("0", first, second) == ["/dev/new"]


def test_all_without_a_device_of_that_name(place: Path) -> None:
    write(place / "a.json", document("0", "/dev/a"))
    write(place / "b.json", document("1", "/dev/b"))
    write(place / "c.json", document("0", "/dev/c", "amd.com/gpu"))
    assert paths("all", place) == ["/dev/a", "/dev/b"]
    assert paths("amd.com/gpu=all", place) == ["/dev/c"]


def test_common_edits_come_once(place: Path) -> None:
    both = document("0", "/dev/a")
    both["devices"] += document("1", "/dev/b")["devices"]
    write(place / "a.json", {**both, "containerEdits": {"env": ["A=b"]}})
    edits = edits_for(["0", "1"], {"LAYERLINE_CDI_SPEC_DIRS": str(place)})
    assert edits.env == (("A", "b"),)
    assert [node.path for node in edits.nodes] == ["/dev/a", "/dev/b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ({"kind": "nvidia.com/gpu", "devices": []}, "version 0.x or 1.x"),
        ({"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu"}, "KeyError('devices')"),
        (document("../0", "/dev/a"), "invalid name '../0'"),
        (document("0", "dev/a"), "path 'dev/a' is not absolute"),
        ({**document("0", "/d"), "containerEdits": {"intelRdt": {}}}, "intelRdt"),
        ({**document("0", "/d"), "containerEdits": {"mounts": [{"hostpath": 1}]}}, "hostpath"),
        ({**document("0", "/d"), "containerEdits": {"env": ["A"]}}, "not NAME=value"),
        (
            {**document("0", "/d"), "containerEdits": {"hooks": [{"hookName": "x", "path": "/"}]}},
            "unknown hook 'x'",
        ),
    ],
)
def test_what_is_not_understood_is_refused(place: Path, content: object, message: str) -> None:
    write(place / "a.json", content)
    with pytest.raises(HostError) as failed:
        paths("0", place)
    assert message in str(failed.value)


def test_one_device_in_two_files(place: Path) -> None:
    for name in ("a.json", "b.json"):
        write(place / name, document("0", "/dev/a"))
    with pytest.raises(HostError, match=r"both have the device nvidia.com/gpu=0"):
        paths("0", place)


def test_others_can_write_a_specification(place: Path) -> None:
    path = write(place / "a.json", document("0", "/dev/a"))
    assert paths("0", place) == ["/dev/a"]
    path.chmod(0o664)
    with pytest.raises(HostError, match=f"others than root can write to {path}"):
        paths("0", place)
    path.chmod(0o644)
    os.chown(path, 65534, 0)
    with pytest.raises(HostError, match=f"others than root can write to {path}"):
        paths("0", place)


def test_others_can_write_a_directory_above_it(place: Path) -> None:
    write(place / "cdi/a.json", document("0", "/dev/a"))
    place.chmod(0o777)
    with pytest.raises(HostError, match=f"others than root can write to {place}:"):
        paths("0", place / "cdi")


def test_a_link_of_others_on_the_way(place: Path, tmp_path: Path) -> None:
    target = write(place / "real/a.json", document("0", "/dev/a"))
    middle = tmp_path / "middle.json"
    middle.symlink_to(target)
    (place / "a.json").symlink_to(middle)
    with pytest.raises(HostError, match="others than root can write to /tmp"):
        paths("0", place)


def test_a_hook_that_others_can_write(place: Path, tmp_path: Path) -> None:
    hook = write(tmp_path / "hook", "#!/bin/sh\n")
    edits = {"hooks": [{"hookName": "createContainer", "path": str(hook)}]}
    write(place / "a.json", {**document("0", "/dev/a"), "containerEdits": edits})
    with pytest.raises(HostError, match=f"{hook} is not used"):
        paths("0", place)


def test_the_toolkit_generates_one(place: Path) -> None:
    """`nvidia-ctk cdi generate` writes to standard output where it is given no file."""
    text = json.dumps(document("all", "/dev/nvidia0"))
    asked = '[ "$*" = "cdi generate --format=json" ]'
    tool = write(place / "nvidia-ctk", f"#!/bin/sh\n{asked} && cat <<'E'\n{text}\nE\n")
    tool.chmod(0o755)
    environ = {"LAYERLINE_CDI_SPEC_DIRS": str(place / "none"), "PATH": str(place)}
    assert [node.path for node in edits_for(["all"], environ).nodes] == ["/dev/nvidia0"]


def test_a_machine_without_a_gpu(place: Path) -> None:
    environ = {"LAYERLINE_CDI_SPEC_DIRS": str(place / "none"), "PATH": str(place)}
    with pytest.raises(HostError) as failed:
        edits_for(["all"], environ)
    message = "no GPU for containers: no CDI specification of one in {0}/none, and nvidia-ctk"
    assert message.format(place) in str(failed.value)


def test_the_toolkit_finds_no_driver(place: Path) -> None:
    tool = write(place / "nvidia-ctk", "#!/bin/sh\necho 'no driver' >&2; exit 1\n")
    tool.chmod(0o755)
    environ = {"LAYERLINE_CDI_SPEC_DIRS": str(place / "none"), "PATH": str(place)}
    with pytest.raises(HostError, match=r"no GPU for containers.*no driver"):
        edits_for(["all"], environ)


@pytest.mark.usefixtures("overlay")
def test_the_rules_of_devices(place: Path, busybox: Path) -> None:
    device = {"path": "/dev/gpu0", "hostPath": "/dev/zero", "permissions": "rw"}
    content = document("0", "/dev/null")
    content["devices"][0]["containerEdits"]["deviceNodes"].append(device)
    write(place / "a.json", content)
    spec = ContainerSpec(rootfs=Overlay(lower=(busybox,)), argv=("true",), gpus=("0",))
    with gpu_devices(spec, place, {"LAYERLINE_CDI_SPEC_DIRS": str(place)}) as devices:
        null, zero = devices.rules
    assert null == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}
    assert zero == {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rw"}


def test_without_root_gpus_are_refused() -> None:
    code = "from layerline.engine.runtime.cdi_files import edits_for; edits_for(['all'], {})"
    argv = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    environ = {**process_environ(), "PYTHONPATH": str(SOURCE)}
    done = command.run(argv, env=environ, expect=None)
    assert b"PrivilegeMissing: containers with GPUs need root: run this command" in done.stderr
