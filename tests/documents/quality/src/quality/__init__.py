"""A module with what the page on Dagger modules calls: checks, a generator, a service."""

from typing import Annotated

import dagger
from dagger import DefaultPath, check, dag, function, generate, object_type, up


@object_type
class Docs:
    """A part with a check of its own."""

    @function
    @check
    async def spelled(self) -> str:
        """Whether the docs are spelled."""
        return "spelled"


@object_type
class Quality:
    """Checks of a project."""

    source: Annotated[dagger.Directory, DefaultPath(".")]

    @function
    @check
    async def lint(self) -> str:
        """Whether it is neat."""
        return "neat"

    @function
    def docs(self) -> Docs:
        """Its docs."""
        return Docs()

    @function
    @generate
    async def version_file(self) -> dagger.Changeset:
        """Writes a version."""
        return self.source.with_new_file("VERSION", "1.2.3\n").changes(self.source)

    @function
    @up
    def web(self) -> dagger.Service:
        """A web server."""
        served = dag.container().from_("python:3.11-slim").with_exposed_port(18472)
        return served.as_service(args=["python3", "-m", "http.server", "18472"])
