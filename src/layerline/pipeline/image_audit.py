"""Audits the images of a project: their packages are those of the lock and of the base."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from layerline.pipeline import lock, package_lines
from layerline.pipeline.advisories import Advisories
from layerline.pipeline.audit import Subject, judge
from layerline.pipeline.definition import Definition
from layerline.pipeline.diagnostics import FILE
from layerline.pipeline.environment import PYTHON, program
from layerline.pipeline.image import Assembly
from layerline.pipeline.licences import Licence, read
from layerline.pipeline.line_numbers import line_of_place
from layerline.pipeline.project import Project
from layerline.pipeline.spans import span
from layerline.pipeline.vulnerability import Document


async def audit(project: Project, images: Sequence[str], advisories: Advisories) -> Document:
    """Audit some images, or all: what is known of their packages, and what the policy refuses."""
    definition = await project.definition()
    subjects = []
    for name, assembly in (await project.assemblies(images)).items():
        with span(f"audit {name}"):
            subjects.append(await _subject(project, assembly, name, advisories))
    return judge(subjects, definition.audit, today=datetime.now(UTC).date())


async def _subject(
    project: Project, assembly: Assembly, name: str, advisories: Advisories
) -> Subject:
    definition = assembly.definition
    spec = definition.image(name)
    layers = assembly.partition.of(spec.groups)
    python = {pin.name: pin.version for layer in layers for pin in layer.pins}
    packages = sorted({each for group in spec.groups for each in definition.groups[group].packages})
    system = await assembly.environment.system(packages, user=spec.user)
    known = await advisories.select(system, python.keys(), definition.audit.exceptions.keys())
    base = line_of_place(await project.source.file(FILE).contents(), ("base",)) or 1
    lines = await _lines(project, definition, spec.target)
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
            **lines,
            **dict(package_lines.of_sources(known["packages"], lines, (FILE, base))),
        },
    )


async def _lines(
    project: Project, definition: Definition, target: str
) -> dict[tuple[str, str], package_lines.Place]:
    """The lines of packages in the locks of a target: ours, and that of another tool."""
    found: dict[tuple[str, str], package_lines.Place] = {}
    theirs = definition.target(target).lock
    for path in filter(None, (theirs, lock.path(target))):
        if await project.source.glob(path):
            text = await project.source.file(path).contents()
            found = {**package_lines.read(path, text), **found}
    return found
