"""The gallery of mistakes: what a user is shown for each, word for word, and what holds for all.

`python -m tests.mistakes.page` prints the gallery as one page. A new row is written with the
message that the user should see; the test shows the one that comes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.mistakes.leftovers import files_below
from tests.mistakes.mistake import read_mistakes
from tests.mistakes.place import prepared, shared_place
from tests.mistakes.rules import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

    from tests.mistakes.mistake import Mistake
    from tests.mistakes.place import Place

MISTAKES = tuple(read_mistakes())
FEWEST = 120


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with shared_place(tmp_path_factory.mktemp("home")) as place:
        yield place


def _param(mistake: Mistake) -> ParameterSet:
    return pytest.param(mistake, id=mistake.id, marks=[pytest.mark.slow] if mistake.slow else [])


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


def test_the_gallery_is_complete() -> None:
    assert len(MISTAKES) >= FEWEST
    twice = [name for name, count in Counter(each.id for each in MISTAKES).items() if count > 1]
    assert twice == []


def test_each_subject_has_a_row_in_a_process_of_its_own() -> None:
    """The others are forked from one that has imported the command line."""
    subjects = {each.subject for each in MISTAKES}
    assert subjects == {each.subject for each in MISTAKES if each.alone}
