"""The test of an image's start, for images that have a budget for it in layerline.toml."""

import time
from xml.etree import ElementTree

import dagger

from ci.modules.image_test import ImageTestResult
from layerline.pipeline import cold_start
from layerline.pipeline.image import Assembly
from layerline.pipeline.image_start import start

NAME = "start"


async def test_start(assembly: Assembly, image: str, *, fresh: str) -> list[ImageTestResult]:
    """Measure the start and compare it with the budgets; nothing without one."""
    if not cold_start.is_wanted(assembly.definition.image(image)):
        return []
    began = time.monotonic()
    try:
        measured = cold_start.describe(await start(assembly, image, fresh=fresh))
        failure = ""
    except dagger.ExecError as exc:
        measured, failure = "", exc.stderr
    return [start_result(image, measured, failure, seconds=time.monotonic() - began)]


def start_result(image: str, measured: str, failure: str, *, seconds: float) -> ImageTestResult:
    """The result as that of a test with one case; an empty failure is none."""
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", name=f"{image} {NAME}")
    case = ElementTree.SubElement(suite, "testcase", name=NAME, time=f"{seconds:.3f}")
    if failure:
        ElementTree.SubElement(case, "failure", message=failure)
    else:
        properties = ElementTree.SubElement(case, "properties")
        ElementTree.SubElement(properties, "property", name=image, value=measured)
    return ImageTestResult(
        name=f"{image} {NAME}",
        passed=not failure,
        xml=ElementTree.tostring(root, encoding="unicode"),
        log=failure,
        seconds=seconds,
    )
