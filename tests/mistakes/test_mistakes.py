"""The gallery of mistakes: what a user is shown for each, word for word, and what holds for all.

`python -m tests.mistakes.page` prints the gallery as one page. A new row is written with the
message that the user should see; the test shows the one that comes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from layerline.settings import override_environ
from tests.mistakes.leftovers import files_below
from tests.mistakes.mistake import read_mistakes
from tests.mistakes.pipeline_calls import call_all
from tests.mistakes.place import prepared, shared_place
from tests.mistakes.rules import problems
from tests.mistakes.shown import Shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

    from tests.mistakes.mistake import Mistake
    from tests.mistakes.place import Place

MISTAKES = tuple(read_mistakes())
INSIDE = tuple(each for each in MISTAKES if each.inside)
FEWEST = 120


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with shared_place(tmp_path_factory.mktemp("home")) as place:
        yield place


def _param(mistake: Mistake) -> ParameterSet:
    marks: list[pytest.MarkDecorator] = []
    if mistake.slow or mistake.inside:
        marks.append(pytest.mark.slow)
    if mistake.inside:  # the module's libraries are installed for it
        marks += [pytest.mark.network, pytest.mark.privileged]
    return pytest.param(mistake, id=mistake.id, marks=marks)


@pytest.mark.parametrize("mistake", [_param(each) for each in MISTAKES])
def test_a_mistake(mistake: Mistake, shared: Place) -> None:
    with prepared(shared, mistake) as place:
        before = files_below(place.workdir)
        shown = place.make(mistake)
        left = files_below(place.workdir).symmetric_difference(before) | files_below(
            place.temporary
        )
    assert shown.message == mistake.message
    assert shown.status == mistake.exit
    assert list(problems(mistake, shown)) == []
    assert left == set()


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the pipeline's functions raise for each mistake in a project."""
    home = tmp_path_factory.mktemp("projects")
    calls = {}
    for number, each in enumerate(INSIDE):
        (home / str(number)).mkdir()
        each.write_files(home / str(number))
        calls[str(number)] = each.argv
    with override_environ({"LAYERLINE_STORE": str(home / "store")}):
        found = call_all(home, calls)
    return {each.id: found[str(number)] for number, each in enumerate(INSIDE)}


@pytest.mark.parametrize("mistake", [pytest.param(each, id=each.id) for each in INSIDE])
def test_a_mistake_in_a_project(mistake: Mistake, raised: dict[str, str]) -> None:
    message = f"Error: FunctionError: {raised[mistake.id]}"
    assert message == mistake.message
    shown = Shown(status=mistake.exit, stdout="", log=message, message=message)
    assert list(problems(mistake, shown)) == []


def test_the_gallery_is_complete() -> None:
    assert len(MISTAKES) >= FEWEST
    twice = [name for name, count in Counter(each.id for each in MISTAKES).items() if count > 1]
    assert twice == []


def test_each_subject_has_a_row_in_a_process_of_its_own() -> None:
    """The others are forked from one that has imported the command line."""
    subjects = {each.subject for each in MISTAKES if not each.inside}
    assert subjects == {each.subject for each in MISTAKES if each.alone}
