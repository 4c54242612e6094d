"""The state of a stage while it is built: a container, and the image's configuration.

Two things grow side by side, as in the Dagger engine, which turns a RUN into fields of the API: the
variables of a RUN, build arguments too, stay with the container; the image's configuration is laid
over it at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from layerline import command
from layerline.engine.api.resolvers.container_config import with_pair
from layerline.engine.dockerfile.expansion import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layerline.engine.api.objects import Container
    from layerline.engine.image.config import ImageConfig

DEFAULT_SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A stage so far. `variables` are of ENV and ARG; `has_cmd` is whether a CMD was given."""

    container: Container
    image: ImageConfig
    variables: Mapping[str, str] = field(default_factory=dict)
    escape: str = "\\"
    has_cmd: bool = False

    @classmethod
    def of_image(cls, container: Container, image: ImageConfig, escape: str) -> State:
        """The first state of a stage that starts from an image, or from scratch."""
        if "PATH" not in dict(image.env):
            image = replace(image, env=(*image.env, ("PATH", command.DEFAULT_PATH)))
        image = replace(image, onbuild=())
        return cls(container=container, image=image, variables=dict(image.env), escape=escape)

    def next_stage(self) -> State:
        """The first state of a stage that starts from this one."""
        image = replace(self.image, onbuild=())
        variables = {**self.variables, **dict(image.env)}
        return replace(self, image=image, variables=variables, has_cmd=False)

    def with_image(self, image: ImageConfig) -> State:
        """With another configuration of the image."""
        return replace(self, image=image)

    def with_env(self, pairs: tuple[tuple[str, str], ...]) -> State:
        """With variables set, in the image too."""
        env = self.image.env
        for name, value in pairs:
            env = with_pair(env, name, value)
        after = self.with_image(replace(self.image, env=env))
        return replace(after, variables={**self.variables, **dict(pairs)})

    @property
    def expand(self) -> Callable[[str], str]:
        """Replaces variables in a word."""
        return lambda text: expand(text, self.variables, escape=self.escape)

    @property
    def shell(self) -> tuple[str, ...]:
        """The argv of the shell that runs the shell form of a command."""
        return self.image.shell or DEFAULT_SHELL
