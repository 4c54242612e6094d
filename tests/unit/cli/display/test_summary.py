"""The summary: a row for each part of an image, and why it was built again on this machine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from layerline import command
from layerline.cli.display.earlier_builds import EarlierBuilds
from layerline.cli.display.step_tree import StepTree
from layerline.cli.display.summary import Summary
from layerline.log import Journal, Kind, Status

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from layerline.log import Attribute

DIGEST = "sha256:" + "ab" * 32
NUMERIC = {"base": "debian@sha256:01", "pins": "numpy 2.4.5 sha256:aa\nscipy 1.16.3 sha256:bb\n"}
SOURCE = {"source": "src/a.py sha256:01\nsrc/b.py sha256:02\n"}


@dataclass(slots=True, kw_only=True)
class Machine:
    """A store's record of builds, and calls that build an image."""

    place: Path
    project: str = "/home/me/service"
    journal: Journal = field(default_factory=Journal)

    def build(
        self,
        numeric: Mapping[str, str],
        source: Mapping[str, str],
        *,
        reused: tuple[str, ...] = (),
        width: int | None = 80,
        archive: Mapping[str, Attribute] | None = None,
        root: str = "build service",
    ) -> list[str]:
        tree = StepTree()
        journal = Journal(listeners=[tree])
        number = journal.next_number()
        span = journal.begin(number, root, kind=Kind.SPAN, parent=None)
        for name, part, inputs in (
            ("install numeric (cpu): numpy 2.4.5 +1", "numeric", numeric),
            ("probe image service", "image service", source),
        ):
            attributes: dict[str, Attribute] = {
                f"layerline.input.{k}": v for k, v in inputs.items()
            }
            attributes |= {"layerline.part": part, "layerline.bytes": 52_200_000}
            step = journal.begin(
                journal.next_number(), name, kind=Kind.SPAN, parent=number, attributes=attributes
            )
            with step.around():
                ended = Status.CACHED if part in reused else Status.DONE
                journal.step("withExec").end(ended)
            step.end()
        span.end()
        if archive is not None:
            export = journal.step("export service.tar")
            export.attributes = archive
            export.end()
        builds = EarlierBuilds(path=self.place / "builds.json", project=self.project)
        summary = Summary(tree=tree, builds=builds, workdir=self.place, width=width)
        lines = list(summary.lines())
        builds.remember(tree.nodes.values())
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(place=tmp_path)


def test_the_first_build_on_a_machine_says_so_once(machine: Machine) -> None:
    lines = machine.build(NUMERIC, SOURCE)
    assert lines[0] == "build service: 0.0 s, 2 rebuilt, 0 reused, first build here"
    assert lines[1].split() == ["numeric", "rebuilt", "0.0", "s", "52.2", "MB", "downloaded"]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("numeric", "why"),
    [
        ({"pins": "numpy 2.4.6 sha256:cc\nscipy 1.16.3 sha256:bb\n"}, "pins: numpy 2.4.5 -> 2.4.6"),
        ({"pins": "numpy 2.4.5 sha256:dd\nscipy 1.16.3 sha256:bb\n"}, "pins: numpy changed"),
        ({"pins": "numpy 2.4.5 sha256:aa\nrich 1 sha256:9\n"}, "pins: rich new, scipy gone"),
        ({"base": "debian@sha256:02"}, "base changed"),
        ({}, "nothing changed, but the store no longer has it"),
    ],
)
def test_what_was_built_again_says_which_input_changed(
    machine: Machine, numeric: dict[str, str], why: str
) -> None:
    machine.build(NUMERIC, SOURCE)
    lines = machine.build({**NUMERIC, **numeric}, SOURCE, reused=("image service",))
    assert lines[0] == "build service: 0.0 s, 1 rebuilt, 1 reused"
    assert lines[2] == " " * 17 + why
    assert lines[3].split() == ["image", "service", "reused"]


def test_a_changed_installation_is_the_reason_for_its_probes_too(tmp_path: Path) -> None:
    lines: list[str] = []
    for versions, probes in (("1", "one"), ("2", "other")):
        tree = StepTree()
        journal = Journal(listeners=[tree])
        root = journal.begin(1, "build", kind=Kind.SPAN, parent=None)
        for number, inputs in ((2, {"pins": f"numpy {versions}\n"}), (3, {"probe x": probes})):
            given: dict[str, Attribute] = {f"layerline.input.{k}": v for k, v in inputs.items()}
            given["layerline.part"] = "numeric"
            step = journal.begin(number, "step", kind=Kind.SPAN, parent=1, attributes=given)
            step.end()
        root.end()
        builds = EarlierBuilds(path=tmp_path / "builds.json", project="/")
        lines = list(Summary(tree=tree, builds=builds, workdir=tmp_path).lines())
        builds.remember(tree.nodes.values())
    assert lines[-1].strip() == "pins: numpy 1 -> 2"


def test_many_changed_files_are_counted(machine: Machine) -> None:
    machine.build(NUMERIC, SOURCE)
    files = "".join(f"src/{name}.py sha256:77\n" for name in "abcde")
    lines = machine.build(NUMERIC, {"source": files}, reused=("numeric",), width=None)
    changed = "source: src/a.py changed, src/b.py changed, src/c.py new and 2 more"
    assert lines[-1].strip() == changed


def test_another_project_of_the_machine_is_no_earlier_build(machine: Machine) -> None:
    machine.build(NUMERIC, SOURCE)
    machine.project = "/home/me/other"
    assert machine.build(NUMERIC, SOURCE)[0].endswith("first build here")


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"a": 1}', '{"KEY": {"inputs": 3, "time": 1}}', '{"KEY": {"inputs": {}}}', "\0"],
)
def test_a_damaged_record_is_an_empty_one(machine: Machine, content: str) -> None:
    key = json.dumps(json.dumps([machine.project, "", "numeric"]))
    content = content.replace('"KEY"', key)
    (machine.place / "builds.json").write_text(content)
    assert machine.build(NUMERIC, SOURCE)[0].endswith("first build here")
    assert machine.build(NUMERIC, SOURCE)[0].endswith("2 rebuilt, 0 reused")


def test_parts_that_an_earlier_call_built_are_kept(machine: Machine) -> None:
    machine.build(NUMERIC, SOURCE)
    assert len(machine.build({}, {})) == 3  # without inputs there is no reason
    known = json.loads((machine.place / "builds.json").read_text())
    assert {json.loads(key)[-1] for key in known} == {"numeric", "image service"}


def test_what_was_written_comes_with_the_command_that_runs_it(machine: Machine) -> None:
    (machine.place / "service.tar").touch()
    facts: dict[str, Attribute] = {
        "layerline.digest": DIGEST,
        "layerline.bytes": 138_300_000,
        "layerline.path": str(machine.place / "service.tar"),
        "layerline.ports": "8000/tcp",
    }
    assert machine.build(NUMERIC, SOURCE, archive=facts)[-3:] == [
        f"image    {DIGEST}",
        "written  service.tar, 138.3 MB",
        "next     docker run --rm -p8000:8000 $(docker load -qi service.tar | sed 's/.*: //')",
    ]
    pushed: dict[str, Attribute] = {
        "layerline.digest": DIGEST,
        "layerline.image": "example.org/service:1",
    }
    assert machine.build(NUMERIC, SOURCE, archive=pushed)[-1] == (
        "next     docker run --rm example.org/service:1"
    )


@pytest.mark.parametrize("said", ["Loaded image ID: sha256:ab", "Loaded image: service:1"])
def test_the_command_runs_what_docker_says_that_it_loaded(
    machine: Machine, tmp_path: Path, said: str
) -> None:
    """moby, image/tarexport/load.go: an id where the archive has no name."""
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1" = run ] && echo "$@" || echo "{said}"\n')
    docker.chmod(0o755)
    facts: dict[str, Attribute] = {"layerline.digest": DIGEST, "layerline.path": "/no dir/a.tar"}
    line = machine.build(NUMERIC, SOURCE, archive=facts)[-1].removeprefix("next")
    ran = command.run(["sh", "-c", line], env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert ran.stdout.decode() == f"run --rm {said.partition(': ')[2]}\n"


def test_no_line_is_wider_than_the_terminal(machine: Machine) -> None:
    wide = {"pins": "".join(f"a-package-of-a-long-name-{n} 1.0 sha256:aa\n" for n in range(9))}
    files = {"source": f"src/{'文' * 40}.py sha256:01\n{'x' * 90} sha256:01\n"}
    machine.build(NUMERIC, SOURCE)
    machine.build(NUMERIC, SOURCE)
    lines = machine.build(wide, files, width=60, root="build an-image-of-a-very-long-name " * 2)
    assert max(map(cell_len, lines)) <= 60
    assert len(lines) > 10
    assert max(map(len, machine.build(NUMERIC, SOURCE, width=None))) > 90


def test_attributes_of_a_module_that_are_no_numbers_do_no_harm(machine: Machine) -> None:
    odd: dict[str, Attribute] = {"layerline.digest": "mine\n", "layerline.bytes": "many"}
    odd |= {"layerline.path": 3, "layerline.ports": True, "layerline.next": "a\nb"}
    assert machine.build(NUMERIC, SOURCE, archive=odd)[-3:] == [
        "image    mine ",
        "written  3, 0 B",
        "next     a b",
    ]


def test_the_slowest_steps_have_their_names_without_what_is_in_them(tmp_path: Path) -> None:
    tree = StepTree()
    journal = Journal(listeners=[tree])
    root = journal.begin(1, "build", kind=Kind.SPAN, parent=None, began=0.0)
    names = ("fetch debian:12", "install jax (cpu): jax 0.9 +3", "probe jax", "probe numpy")
    for number, name in enumerate(names, start=2):
        step = journal.begin(number, name, kind=Kind.SPAN, parent=1, began=0.0)
        step.end(when=20.0 - number)
    root.end(when=30.0)
    builds = EarlierBuilds(path=tmp_path / "builds.json", project="/")
    assert list(Summary(tree=tree, builds=builds, workdir=tmp_path).lines())[-1] == (
        "slowest: fetch debian:12 18.0 s, install jax (cpu) 17.0 s, probe jax 16.0 s"
    )


def test_a_call_without_spans_has_no_rows(tmp_path: Path) -> None:
    tree = StepTree()
    journal = Journal(listeners=[tree])
    journal.step("Sample.build", Kind.CALL).end()
    builds = EarlierBuilds(path=tmp_path / "builds.json", project="/")
    assert list(Summary(tree=tree, builds=builds, workdir=tmp_path).lines()) == []
    builds.remember(tree.nodes.values())
    assert not (tmp_path / "builds.json").exists()
