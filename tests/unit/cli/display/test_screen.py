"""What is on the screen of a terminal, and in its scrollback, while steps come and go."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyte
import pytest
from rich.cells import cell_len
from rich.console import Console

from layerline.cli.display.live import LiveView
from layerline.log import Journal, Kind, Status, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH, HEIGHT = 80, 12
LONG = "install shared+api-cloudrun+drift-api+train (cu13): " + "文字" * 60


class Screen(io.StringIO):
    """A terminal as a file; its lines end as a terminal's driver ends them."""

    def __init__(self) -> None:
        super().__init__()
        self.screen = pyte.HistoryScreen(WIDTH, HEIGHT, history=1000, ratio=0.1)
        self.stream = pyte.Stream(self.screen)

    def write(self, text: str) -> int:
        self.stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    def lines(self) -> list[str]:
        """The scrollback and the screen, without empty lines at the end."""
        gone = ["".join(row[at].data for at in range(WIDTH)) for row in self.screen.history.top]
        shown = [line.rstrip() for line in (*gone, *self.screen.display)]
        while shown and not shown[-1]:
            shown.pop()
        return shown


@dataclass(slots=True)
class Session:
    """A view on a terminal, and the steps of a call, drawn after each of its events."""

    environ: Mapping[str, str] = field(default_factory=dict)
    terminal: Screen = field(default_factory=Screen)
    view: LiveView = field(init=False)
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        console = Console(
            file=self.terminal,
            force_terminal=True,
            width=WIDTH,
            height=HEIGHT,
            highlight=False,
            _environ={"TERM": "xterm-256color", **self.environ},
        )
        self.view = LiveView(console=console)
        self.journal = Journal(listeners=[self.view])

    def span(self, name: str, parent: Step | None) -> Step:
        number = None if parent is None else parent.number
        begun = self.journal.begin(self.journal.next_number(), name, kind=Kind.SPAN, parent=number)
        self.draw()
        return begun

    def draw(self) -> None:
        assert self.view.live is not None
        for _ in range(2):
            self.view.live.refresh()


def build(session: Session, parts: int) -> None:
    call = session.journal.step("Sample.build", Kind.CALL)
    root = session.span("build api", call)
    steps = [session.span(f"{number} {LONG}", root) for number in range(parts)]
    for step in steps:
        with step.around():
            session.journal.step("withExec").write(b"Downloading torch (9.0MiB)\n", stream=2)
        session.draw()
    for step in steps:
        step.end()
        session.draw()
    root.end()
    call.end()


@pytest.mark.parametrize("parts", [3, 30])
def test_each_step_leaves_one_line_and_no_frame_stays(parts: int) -> None:
    session = Session()
    with session.view.showing():
        build(session, parts)
    lines = session.terminal.lines()
    names = [line.split(maxsplit=3)[3] for line in lines]
    assert [name.split()[0] for name in names] == [*map(str, range(parts)), "build"]
    assert len(lines) == parts + 1
    assert all(name.endswith("…") for name in names[:-1])
    assert max(map(cell_len, lines)) <= WIDTH


def test_a_step_that_ended_is_not_shown_as_running_any_more() -> None:
    session = Session()
    with session.view.showing():
        root = session.span("build api", None)
        step = session.span("install jax", root)
        session.span("install numpy", root)
        step.end()
        names = [line.split()[-1] for line in session.terminal.lines()]
        assert sorted(names) == ["api", "jax", "numpy"]


def test_a_frame_that_is_higher_than_the_screen_does_not_scroll() -> None:
    session = Session()
    with session.view.showing():
        root = session.span("build api", None)
        for number in range(3 * HEIGHT):
            session.span(f"{number} {LONG}", root)
        lines = session.terminal.lines()
        assert len(lines) <= HEIGHT
        assert "build api" in lines[0]
        assert session.terminal.screen.cursor.hidden


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_cursor_is_shown_again_and_the_frame_is_gone(error: type[BaseException]) -> None:
    session = Session()

    def interrupted() -> None:
        with session.view.showing():
            root = session.span("build api", None)
            for number in range(2 * HEIGHT):  # more than the screen has lines
                session.span(f"{number} {LONG}", root)
            assert session.terminal.screen.cursor.hidden
            raise error

    with pytest.raises(error):
        interrupted()
    assert not session.terminal.screen.cursor.hidden
    assert session.terminal.lines() == []


def test_the_terminal_is_left_to_somebody_else_and_taken_back() -> None:
    session = Session()
    with session.view.showing():
        root = session.span("build api", None)
        for number in range(2 * HEIGHT):
            session.span(f"{number} {LONG}", root)
        with session.view.hidden():
            assert not session.terminal.screen.cursor.hidden
            assert session.terminal.lines() == []
        session.draw()
        assert len(session.terminal.lines()) <= HEIGHT
    assert session.terminal.lines() == []


def colours(session: Session) -> set[str]:
    rows = session.terminal.screen.buffer.values()
    return {cell.fg for row in rows for cell in row.values()}


def test_no_color_is_honoured() -> None:
    """https://no-color.org: any value but the empty one."""
    for environ, expected in (({}, {"default", "red"}), ({"NO_COLOR": "1"}, {"default"})):
        session = Session(environ=environ)
        with session.view.showing():
            session.span("build api", None).end(Status.ERROR)
        assert colours(session) == expected
        assert session.terminal.lines()[0].split()[1] == "failed"
