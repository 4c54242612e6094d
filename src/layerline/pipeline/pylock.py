"""A target's lock as a `pylock.toml` (PEP 751): uv names the files, the lock who requires whom.

The installer and what builds packages are not in it: they stay in the lock of this pipeline, next
to one of another tool.
"""

import json
import re
from collections.abc import Collection

import dagger

from layerline.pipeline.definition import Definition
from layerline.pipeline.environment import PYTHON, UV, UV_CACHE, Environment, program
from layerline.pipeline.lock import LockError, Pin
from layerline.pipeline.origins import parse_origin
from layerline.pipeline.partition import partition
from layerline.pipeline.resolution import resolving_container
from layerline.pipeline.wheels import WHEELHOUSE

# uv reads its settings in the working directory.
_PLACE = "/mnt/export"
_PACKAGE = re.compile(
    r'^\[\[packages\]\]\nname = "(?P<name>[^"]+)"\n(?:version = .*\n)?', re.MULTILINE
)


async def export(environment: Environment, definition: Definition, text: str) -> str:
    """A lock's packages as PEP 751 has them; a `LockError` if one is from a wheelhouse."""
    layers = partition(text, definition, environment.target).layers.values()
    pins = [pin for layer in layers for pin in layer.pins]
    built = {pin.name for layer in layers for pin in layer.built}
    of_git = [pin for pin in pins if parse_origin(pin.name, pin.url).is_git]
    container = await resolving_container(environment, definition, text)
    # Without it uv would ask the build backends, next to the credentials of the indexes.
    metadata = "".join(map(_metadata, (pin for pin in pins if pin.name in built)))
    container = container.with_new_file(f"{_PLACE}/uv.toml", metadata).with_workdir(_PLACE)
    done = container.with_exec(
        [
            *("python3", "-c", program("export_pylock.py"), UV, "pip", "compile"),
            *(f"--python={PYTHON}", f"--cache-dir={UV_CACHE}", "--no-deps", "--quiet"),
            *("--generate-hashes", "--no-header", "--format=pylock.toml", "--only-binary=:all:"),
            *(f"--no-binary={name}" for name in sorted(built)),
        ],
        stdin="".join(f"{_pinned(pin)}\n" for pin in pins if pin not in of_git),
    )
    try:
        found = await environment.supplies.again(done.stdout)
    except dagger.ExecError as exc:
        message = f"uv cannot write the lock as a pylock.toml:\n{exc.stderr.strip()}"
        raise LockError(message) from exc
    return document(found, pins)


def document(found: str, pins: Collection[Pin]) -> str:
    """What uv wrote, with the packages of repositories and with all dependencies."""
    if WHEELHOUSE in found:
        message = (
            "the lock has files of a wheelhouse, which have no URL: lock with indexes alone for "
            "--format=pylock"
        )
        raise LockError(message)
    # What uv writes of nothing is an array that takes no tables.
    found = re.sub(r"^packages = \[\]$", "", found, flags=re.MULTILINE)
    tables = [_vcs_table(pin) for pin in pins if parse_origin(pin.name, pin.url).is_git]
    text = "\n".join([found.rstrip("\n") + "\n", *tables])

    def with_dependencies(match: re.Match[str]) -> str:
        names = sorted(pin.name for pin in pins if match["name"] in pin.required_by)
        listed = ", ".join(f'{{ name = "{name}" }}' for name in names)
        return f"{match[0]}dependencies = [{listed}]\n"

    return _PACKAGE.sub(with_dependencies, text)


def _metadata(pin: Pin) -> str:
    """An entry of uv's settings for a package whose dependencies the lock has."""
    return (
        f'[[dependency-metadata]]\nname = "{pin.name}"\nversion = "{pin.version}"\n'
        "requires-dist = []\n"
    )


def _pinned(pin: Pin) -> str:
    return f"{pin.name} @ {pin.url}" if pin.url else f"{pin.name}=={pin.version}"


def _vcs_table(pin: Pin) -> str:
    """The table of a package that comes from a commit."""
    origin = parse_origin(pin.name, pin.url)
    members = {"type": "git", "url": origin.url.removeprefix("git+"), "commit-id": origin.ref}
    if origin.subdirectory:
        members["subdirectory"] = origin.subdirectory
    vcs = ", ".join(f"{key} = {json.dumps(value)}" for key, value in members.items())
    head = f'[[packages]]\nname = "{pin.name}"\nversion = "{pin.version}"\n'
    return f"{head}vcs = {{ {vcs} }}\n"
