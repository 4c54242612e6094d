"""Ignore files: essential patterns, patterns that hide what is copied, secrets that would leak."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.doctor.build_context import Excluded
from layerline.doctor.finding import Check, Observation, Severity
from layerline.doctor.ignore import copied_sources, missing_essentials
from layerline.patterns import Matcher, PatternError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerline.doctor.subject import Subject

REPAIR = "ignore-file"
_FIX = (f"layerline doctor --fix {REPAIR} --dry-run", f"layerline doctor --fix {REPAIR}")
_SHOWN = 5


def check_ignore_file(subject: Subject) -> Iterator[Observation]:
    """It exists, docker can read it, and it has what ML projects need."""
    subject.require_build()
    patterns = subject.ignore.patterns
    try:
        Matcher(patterns)
    except PatternError as exc:
        yield Observation(
            f"{subject.ignore.path.name}: {exc}",
            severity=Severity.HIGH,
            impact="docker refuses to build.",
            fix="Correct the pattern, or put a backslash before characters meant plainly.",
        )
        return
    missing = missing_essentials(patterns, copied_sources(subject.dockerfiles))
    facts = {"file": subject.ignore.path.name, "missing": missing}
    if subject.ignore.data is None:
        text = f"{subject.ignore.path.name} does not exist"
        yield Observation(text, _FIX, severity=Severity.HIGH, repair=REPAIR, facts=facts)
    elif missing:
        text = f"{subject.ignore.path.name} does not leave out {', '.join(missing)}"
        yield Observation(text, _FIX, repair=REPAIR, facts=facts)


def check_ignored_sources(subject: Subject) -> Iterator[Observation]:
    """COPY of an excluded file fails; of a folder with excluded parts it copies less."""
    subject.require_build()
    excluded = Excluded(subject.ignore.patterns)
    for dockerfile in subject.dockerfiles:
        for instruction, source in dockerfile.sources:
            if source == "." or "*" in source or not (subject.project / source).exists():
                continue
            if excluded.excludes(source) and not excluded.may_keep_below(source):
                yield Observation(
                    f"{dockerfile.path}:{instruction.line} copies {source}, which "
                    f"{subject.ignore.path.name} leaves out",
                    (f"echo '!{source}' >> {subject.ignore.path.name}",),
                    facts={
                        "dockerfile": dockerfile.path,
                        "line": instruction.line,
                        "source": source,
                    },
                )


def check_secrets(subject: Subject) -> Iterator[Observation]:
    """Files that look like secrets and would be sent to the builder."""
    found = sorted(subject.context.secrets)
    if not found:
        return
    copies_all = any(source == "." for each in subject.dockerfiles for _, source in each.sources)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    yield Observation(
        f"in the build context: {', '.join(found[:_SHOWN])}{more}",
        _FIX,
        severity=Severity.CRITICAL if copies_all else None,
        repair=REPAIR,
        facts={"paths": found},
    )


def check_builders_agree(subject: Subject) -> Iterator[Observation]:
    """The classic builder does not look into an excluded folder for `!**/name`; BuildKit does."""
    subject.require_build()
    patterns = subject.ignore.patterns
    buildkit, classic = Excluded(patterns), Excluded(patterns, classic=True)
    tops = [path.name for path in subject.project.iterdir() if path.is_dir()]
    for name in sorted(tops):
        differ = buildkit.may_keep_below(name) and not classic.may_keep_below(name)
        if differ and buildkit.excludes(name):
            yield Observation(
                f"{subject.ignore.path.name}: an exception that begins with a wildcard is looked "
                f"for in the excluded folder {name} by BuildKit, but not by the classic builder",
                facts={"folder": name},
            )
            return


CHECKS = (
    Check(
        name="ignore-file",
        title="the ignore file has the essential patterns",
        severity=Severity.MEDIUM,
        impact="Data, caches and environments are sent to the builder, and each change of them "
        "runs `COPY . .` and all that follows again.",
        fix="Add the missing patterns; the doctor can write them into a marked block.",
        run=check_ignore_file,
    ),
    Check(
        name="ignore-copied",
        title="nothing that is copied is left out",
        severity=Severity.HIGH,
        impact="The build fails with 'not found', or the image silently lacks files.",
        fix="Add an exception below the pattern, or copy something else.",
        run=check_ignored_sources,
    ),
    Check(
        name="ignore-secrets",
        title="no secrets in the build context",
        severity=Severity.HIGH,
        impact="Whoever has the image or the build cache has the secret; deleting it in a later "
        "step does not help.",
        fix="Leave the files out, and give secrets to steps with --mount=type=secret.",
        run=check_secrets,
    ),
    Check(
        name="ignore-builders",
        title="both builders read the ignore file alike",
        severity=Severity.INFO,
        impact="The context has other files, depending on who builds.",
        fix="Name the excepted path in full, from the root of the context.",
        run=check_builders_agree,
    ),
)
