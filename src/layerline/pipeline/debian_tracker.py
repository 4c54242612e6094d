"""What Debian's security tracker knows of installed packages.

The document is that of https://security-tracker.debian.org/tracker/data/json: issues by source
package, with the status in each release. `fixed_version` is that of the source package; 0 says that
the release was never affected.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from layerline.pipeline.osv import compare_debian
from layerline.pipeline.vulnerability import UNKNOWN, Vulnerability

_NEVER = "0"
# https://security-team.debian.org/security_tracker.html#severity-levels
_URGENCIES = {"unimportant": "none", "low": "low", "medium": "medium", "high": "high"}
_LONGEST = 200


def find(
    issues: Mapping[str, Mapping[str, Any]], packages: Sequence[Mapping[str, str]]
) -> Iterator[Vulnerability]:
    """Yield what the installed versions are affected by, open or fixed in a later one."""
    versions: dict[tuple[str, str], list[str]] = {}
    for each in packages:
        versions.setdefault((each["source"], each["source_version"]), []).append(each["name"])
    for (source, version), names in sorted(versions.items()):
        for name, issue in sorted(issues.get(source, {}).items()):
            fixed = issue.get("fixed_version", "") if issue["status"] == "resolved" else ""
            if issue["status"] == "resolved" and not _is_older(version, fixed):
                continue
            yield Vulnerability(
                id=name,
                kind="deb",
                package=source,
                version=version,
                installed=tuple(sorted(names)),
                fixed=fixed,
                severity=_URGENCIES.get(str(issue.get("urgency", "")).strip("*"), UNKNOWN),
                summary=str(issue.get("description", ""))[:_LONGEST],
                url=f"https://security-tracker.debian.org/tracker/{name}",
            )


def _is_older(version: str, fixed: str) -> bool:
    """Whether a version lacks the fix; one that cannot be read does."""
    if fixed == _NEVER:
        return False
    try:
        return compare_debian(version, fixed) < 0
    except ValueError:
        return True
