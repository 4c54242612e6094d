"""The platform that a lock is for, which decides the markers of requirements (PEP 508)."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

PYTHON = "3.11"
MACHINE = "x86_64"
_NEWEST_GLIBC = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """CPython on Linux; the base image has the version, e.g. `3.11.2`, and the machine.

    The defaults are those of locks that do not record their platform.
    """

    python: str = PYTHON
    machine: str = MACHINE

    def wants(self, requirement: str) -> bool:
        """Whether the marker of a requirement is true here, or there is none."""
        marker = Requirement(requirement).marker
        return marker is None or marker.evaluate(self._variables())

    def holds(self, marker: str) -> bool:
        """Whether a marker of a lock is true here, without any extra; an empty one is."""
        return not marker or Marker(marker).evaluate(self._variables(), context="lock_file")

    def accepts(self, wheel: str) -> bool:
        """Whether a wheel with that file name can be installed here, whatever the glibc.

        A name that is not in the form of wheels is not judged.
        """
        try:
            *_, tags = parse_wheel_filename(wheel)
        except InvalidWheelFilename:
            return True
        return not self._tags().isdisjoint(tags)

    def _tags(self) -> set[Tag]:
        # https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/
        major, minor = (int(part) for part in self.python.split(".")[:2])
        libcs = [f"manylinux_2_{number}" for number in range(5, _NEWEST_GLIBC)]
        kinds = [*libcs, "manylinux1", "manylinux2010", "manylinux2014", "linux"]
        platforms = [f"{kind}_{self.machine}" for kind in kinds]
        return {
            *cpython_tags((major, minor), platforms=platforms),
            *compatible_tags((major, minor), f"cp{major}{minor}", platforms),
        }

    def _variables(self) -> dict[str, str | AbstractSet[str]]:
        """The variables of markers; the kernel's release is not known before the image runs."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": ".".join(self.python.split(".")[:2]),
            "sys_platform": "linux",
            "extra": "",
            "extras": frozenset(),
            "dependency_groups": frozenset(),
        }
