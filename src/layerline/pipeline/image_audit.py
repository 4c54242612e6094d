"""Audits the images of a project: their packages are those of the lock and of the base."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from layerline.pipeline import lock
from layerline.pipeline.advisories import Advisories
from layerline.pipeline.audit import Subject, judge
from layerline.pipeline.definition import Definition
from layerline.pipeline.diagnostics import FILE
from layerline.pipeline.environment import PYTHON, program
from layerline.pipeline.image import Assembly
from layerline.pipeline.licences import Licence, read
from layerline.pipeline.line_numbers import line_of_place
from layerline.pipeline.project import Project
from layerline.pipeline.requirement import normalize_name
from layerline.pipeline.spans import span
from layerline.pipeline.vulnerability import Document


async def audit(project: Project, images: Sequence[str], advisories: Advisories) -> Document:
    """Audit some images, or all: what is known of their packages, and what the policy refuses."""
    definition = await project.definition()
    subjects = []
    for name in images or sorted(definition.images):
        assembly = await project.assembly(definition, definition.image(name).target)
        with span(f"audit {name}"):
            subjects.append(await _subject(project, definition, assembly, name, advisories))
    return judge(subjects, definition.audit, today=datetime.now(UTC).date())


async def _subject(
    project: Project, definition: Definition, assembly: Assembly, name: str, advisories: Advisories
) -> Subject:
    spec = definition.image(name)
    layers = assembly.partition.of(spec.groups)
    python = {pin.name: pin.version for layer in layers for pin in layer.pins}
    packages = sorted({each for group in spec.groups for each in definition.groups[group].packages})
    system = await assembly.environment.system(packages, user=spec.user)
    known = await advisories.select(system, python.keys(), definition.audit.exceptions.keys())
    base = line_of_place(await project.source.file(FILE).contents(), ("base",)) or 1
    sources = {each["source"] for each in known["packages"]}
    licences: tuple[Licence, ...] = ()
    if definition.audit.denied_licenses:
        image = await assembly.assemble(name, spec)
        listed = await image.with_exec([PYTHON, "-c", program("metadata.py")]).stdout()
        licences = tuple(read(json.loads(listed)["python"]))
    return Subject(
        image=name,
        python=python,
        licences=licences,
        known=known,
        places={
            **await _lock_places(project, definition, spec.target),
            **{("deb", source): (FILE, base) for source in sources},
        },
    )


async def _lock_places(
    project: Project, definition: Definition, target: str
) -> Mapping[tuple[str, str], tuple[str, int]]:
    """Path and line of each package in the lock of a target, whoever wrote it."""
    theirs = definition.target(target).lock
    path = theirs or lock.path(target)
    text = await project.source.file(path).contents()
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.replace('name = "', "").replace("==", " ").replace('"', " ").split()
        if words and not line.startswith((" ", "#")):
            found.setdefault(("pypi", normalize_name(words[0].partition("[")[0])), (path, number))
    return found
