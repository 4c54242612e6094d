"""What a person reads of a call with spans: the spans, each once, and not the work in them."""

from __future__ import annotations

import io

from rich.console import Console

from layerline.cli.display.live import LiveView
from layerline.cli.display.progress import PlainLines
from layerline.cli.display.step_tree import Folded, StepTree
from layerline.log import Journal, Kind, Status, Step, parts_of


class Build:
    """A call with two spans, told to one listener."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.call = journal.step("Sample.build", Kind.CALL)

    def span(self, name: str, parent: Step | None = None, **attributes: int | bool) -> Step:
        return self.journal.begin(
            self.journal.next_number(),
            name,
            kind=Kind.SPAN,
            parent=(parent or self.call).number,
            attributes={f"layerline.{key}": value for key, value in attributes.items()},
        )

    def work(
        self, name: str, within: Step, status: Status = Status.DONE, output: bytes = b""
    ) -> None:
        with within.around():
            step = self.journal.step(name)
        if output:
            step.write(output, stream=1)
            step.write(b"warning of " + name.encode() + b"\n", stream=2)
        step.end(status, "exit code: 1" if status is Status.ERROR else "")


def build(journal: Journal) -> Build:
    made = Build(journal)
    root = made.span("build api", steps=2)
    install = made.span("install jax (cpu): jax 0.9 +3", root)
    made.work("withExec install.py", install, output=b'{"seconds": 1}\n')
    install.attributes = {"layerline.bytes": 1_500_000}
    install.end()
    probe = made.span("probe jax", root)
    made.work("withExec run.py", probe, Status.CACHED)
    probe.end()
    wait = made.span("wait for jax", root, waits=True)
    wait.end()
    root.end()
    made.call.end()
    return made


def test_plain_lines_tell_spans_and_what_they_write_to_stderr() -> None:
    written: list[str] = []
    build(Journal(listeners=[Folded(PlainLines(written.append))]))
    text = "".join(written)
    assert "install jax (cpu): jax 0.9 +3 DONE" in text
    assert "probe jax CACHED" in text
    assert "| warning of withExec install.py" in text
    assert "withExec run.py" not in text
    assert "seconds" not in text
    assert "wait for jax" not in text


def test_work_of_a_call_without_spans_is_told_as_it_was() -> None:
    written: list[str] = []
    made = Build(Journal(listeners=[Folded(PlainLines(written.append))]))
    made.work("withExec true", made.call, output=b"said\n")
    text = "".join(written)
    assert "| said" in text
    assert "withExec true DONE" in text


def test_work_that_fails_is_told_within_a_span() -> None:
    written: list[str] = []
    made = Build(Journal(listeners=[Folded(PlainLines(written.append))]))
    span = made.span("install jax")
    made.work("withExec install.py", span, Status.ERROR)
    assert "withExec install.py ERROR" in "".join(written)
    assert "! exit code: 1" in "".join(written)


def test_a_span_that_arrives_after_its_work_gets_it() -> None:
    tree = StepTree()
    journal = Journal(listeners=[tree])
    call = journal.step("Sample.build", Kind.CALL)
    number = journal.next_number()
    with parts_of(number):
        journal.step("withExec true").end(Status.CACHED)
    span = journal.begin(number, "late", kind=Kind.SPAN, parent=call.number)
    span.end()
    assert tree.nodes[number].status() is Status.CACHED
    assert [node.last.name for node in tree.nodes[number].work()] == ["withExec true"]


def drawn(view: LiveView) -> str:
    view.console.print(view._frame())
    assert isinstance(view.console.file, io.StringIO)
    return view.console.file.getvalue()


def test_a_terminal_shows_what_runs_as_a_tree_with_n_of_m() -> None:
    view = LiveView(console=Console(file=io.StringIO(), width=100, highlight=False))
    made = Build(Journal(listeners=[view]))
    root = made.span("build api", steps=3)
    made.span("prepare debian", root).end()
    install = made.span("install jax", root)
    with install.around():
        step = made.journal.step("withExec install.py")
    step.write(b"Downloading jaxlib (100.0MiB)\nDownloading numpy (20.0MiB)\n", stream=2)
    step.write(b" Downloaded numpy\n", stream=2)
    text = drawn(view)
    rows = [line for line in text.splitlines() if "build api" in line or "install jax" in line]
    assert rows[0].endswith("build api  1/3")
    assert rows[1].index("install jax") == rows[0].index("build api") + 2
    assert "21.0 MB of 125.8 MB" in text
    assert "withExec" not in text
    assert "Sample.build" not in text
