"""Build arguments: those given, those that every build has, and the ARGs before the first FROM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from layerline.engine.dockerfile.expansion import expand
from layerline.engine.image.platform import Platform
from layerline.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.engine.dockerfile.instructions import Arg, Dockerfile, Stage

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """`given` come from the caller; `outer` are what an ARG without a default gets in a stage."""

    given: Mapping[str, str]
    outer: Mapping[str, str]

    @classmethod
    def of(
        cls, dockerfile: Dockerfile, given: Mapping[str, str], target: Platform, stage: str
    ) -> Arguments:
        """The arguments of a build for a platform and a target stage."""
        outer = {name: given.get(name, value) for name, value in _platforms(target, stage)}
        for arg in dockerfile.arguments:
            for name, default in arg.pairs:
                if name in given:
                    outer[name] = given[name]
                elif default is not None:
                    outer[name] = expand(default, outer, escape=dockerfile.escape)
        return cls(given=given, outer=outer)

    def declare(self, arg: Arg, variables: Mapping[str, str], escape: str) -> dict[str, str]:
        """A stage's variables after an ARG in it."""
        after = dict(variables)
        for name, default in arg.pairs:
            if name in self.given:
                after[name] = self.given[name]
            elif default is not None:
                after[name] = expand(default, after, escape=escape)
            elif name in self.outer:
                after[name] = self.outer[name]
        return after

    def proxies(self) -> tuple[tuple[str, str], ...]:
        """The proxies given: every RUN sees them in both spellings, and they are in no key."""
        return tuple(
            (spelling, value)
            for name, value in sorted(self.given.items())
            if name.upper() in _PROXIES
            for spelling in (name.upper(), name.lower())
        )

    def begin(self, stage: Stage, escape: str) -> Stage:
        """A stage with the variables of its FROM replaced."""
        base = expand(stage.base, self.outer, escape=escape)
        platform = expand(stage.platform, self.outer, escape=escape)
        if not base:
            message = f"base name ({stage.base}) should not be blank"
            raise QueryError(message)
        if stage.platform and not platform:
            message = f"empty platform value from expression {stage.platform}"
            raise QueryError(message)
        return replace(stage, base=base, platform=platform)


def _platforms(target: Platform, stage: str) -> list[tuple[str, str]]:
    found = [("TARGETSTAGE", stage)]
    for prefix, platform in (("BUILD", Platform.of_host()), ("TARGET", target)):
        found += [
            (f"{prefix}PLATFORM", str(platform)),
            (f"{prefix}OS", platform.os),
            (f"{prefix}OSVERSION", ""),
            (f"{prefix}ARCH", platform.architecture),
            (f"{prefix}VARIANT", platform.variant),
        ]
    return found
