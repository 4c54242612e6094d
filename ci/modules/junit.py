"""Parses, merges and summarizes JUnit XML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

WORST = ("failure", "error")
_MANY = 40
_SLOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A test: its name, its outcome in one word, its seconds and its measurements."""

    name: str
    outcome: str
    seconds: float
    measured: tuple[str, ...] = ()


def cases(text: str) -> tuple[Case, ...]:
    """The test cases of a document."""
    return tuple(_case(each) for each in ElementTree.fromstring(text).iter("testcase"))


def merge(texts: Sequence[str]) -> str:
    """Merge the suites of several documents into one."""
    root = ElementTree.Element("testsuites")
    for text in texts:
        root.extend(ElementTree.fromstring(text).iter("testsuite"))
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def summary(name: str, text: str, *, seconds: float) -> str:
    """Count the tests by outcome, then list each with its duration.

    Of many tests, only those that did not pass, were slow, or have measurements are listed.
    """
    found = cases(text)
    outcomes = sorted({case.outcome for case in found})
    counts = [f"{sum(case.outcome == each for case in found)} {each}" for each in outcomes]
    lines = [f"{name}: {', '.join(counts) or 'no tests'} in {seconds:.1f} s"]
    notable = [case for case in found if len(found) <= _MANY or _is_notable(case)]
    lines += [line for case in notable for line in _case_lines(case)]
    return "\n".join(lines) + "\n"


def _is_notable(case: Case) -> bool:
    return case.outcome != "passed" or case.seconds >= _SLOW_SECONDS or bool(case.measured)


def _case_lines(case: Case) -> Iterator[str]:
    yield f"  {case.outcome} {case.name} [{case.seconds:.1f} s]"
    yield from (f"    {each}" for each in case.measured)


def _case(element: ElementTree.Element) -> Case:
    kinds = {child.tag for child in element}
    if kinds.intersection(WORST):
        outcome = "failed"
    else:
        outcome = "skipped" if "skipped" in kinds else "passed"
    return Case(
        name=element.get("name", ""),
        outcome=outcome,
        seconds=float(element.get("time", "0")),
        measured=tuple(
            f"{each.get('name')}: {each.get('value')}" for each in element.iter("property")
        ),
    )
