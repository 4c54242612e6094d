"""What the recorded modules do not do; the package is found by its name, without entry point."""

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import anyio
import dagger
from dagger import DefaultAddress, DefaultPath, dag, field, function, object_type, up


@object_type
class Box:
    """Something with a size."""

    size: int = field()

    @function
    def show(self, unit: str = "cm") -> str:
        """The size with its unit."""
        return f"{self.size} {unit}"


@object_type
class Extras:
    """More functions."""

    greeting: Annotated[str, "How to greet"] = field(default="hi")

    @function
    def greet(self, name: str) -> str:
        """Greet somebody."""
        return f"{self.greeting} {name}"

    @function
    def box(self) -> Box:
        """A box."""
        return Box(size=3)

    @function
    def numbers(self) -> list[int]:
        """Three numbers."""
        return [1, 2, 3000000]

    @function
    async def commit(self, repository: Annotated[dagger.GitRepository, DefaultPath("/")]) -> str:
        """The commit that is checked out."""
        return await repository.head().commit()

    @function
    async def ref(self, ref: Annotated[dagger.GitRef, DefaultPath("/.git")]) -> str:
        """The same, by a ref."""
        return await ref.commit()

    @function
    async def base(
        self, base: Annotated[dagger.Container, DefaultAddress("debian:bookworm-slim")]
    ) -> str:
        """Which distribution an image is."""
        return (await base.file("/etc/os-release").contents()).splitlines()[0]

    @function
    def add_and_remove(
        self, source: Annotated[dagger.Directory, DefaultPath("/")]
    ) -> dagger.Changeset:
        """A file more and a file less."""
        after = source.with_new_file("made/new.txt", "new").without_file("old.txt")
        return after.changes(source)

    @function
    async def list_contents(self, directory: dagger.Directory, file: dagger.File) -> list[str]:
        """What is in a directory and a file."""
        return [*await directory.entries(), await file.contents()]

    @function
    async def several(self, files: list[dagger.File], platform: dagger.Platform) -> list[str]:
        """Files and a platform."""
        return [platform, *[await each.contents() for each in files]]

    @function
    async def volume(self, cache: dagger.CacheVolume, base: dagger.Container) -> str:
        """A container with a cache."""
        made = base.with_mounted_cache("/c", cache).with_exec(["sh", "-c", "ls -d /c"])
        return await made.stdout()

    @function
    def package_version(self, package: str) -> str:
        """The version of a package in the module's environment."""
        try:
            return version(package)
        except PackageNotFoundError:
            return "none"

    @function
    async def exported(self) -> str:
        """What exports leave in the function's own directory."""
        made = dag.directory().with_new_file("a/b.txt", "text")
        said = [await made.export("out"), await made.file("a/b.txt").export("c.txt")]
        said.append(await dag.container().with_new_file("/x", "y").export("image.tar"))
        await anyio.Path("out/a/b.txt").write_text("changed")
        said.append(await dag.current_module().workdir_file("out/a/b.txt").contents())
        return "\n".join([*said, *sorted([path.name async for path in anyio.Path().iterdir()])])

    @function
    @up
    def web(self) -> dagger.Service:
        """A web server."""
        argv = ["python", "-m", "http.server", "18471"]
        served = dag.container().from_("python:3.11-slim").with_exposed_port(18471)
        return served.as_service(args=argv)
