"""What it takes to put a newer base under published images: time, bytes pushed, layers kept.

    .venv/bin/python -m benchmarks.patch --work=DIR [--image=NAME]…

The earlier base is Debian without its updates and security updates, the newer one Debian with
them. Each image is published on the earlier one, then patched and published again to the same
docker-registry, which runs on loopback. DIR keeps the store, the registry and the locks: another
run goes on with other images.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.docker.repository import DEFINITION, Repository
from benchmarks.measure import processor_seconds
from layerline import command, host
from layerline.pipeline import lock
from layerline.pipeline.definition import parse_definition
from layerline.settings import process_environ
from tests.images import cache_directory, serve, serve_suite
from tests.published import new_key
from tests.registry import serving

if TYPE_CHECKING:
    from collections.abc import Sequence

_BASE, _SUITE = "debian:bookworm-slim", "bookworm"
_SOURCE = Path(__file__).parents[1] / "src"
_ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
_BELOW = 2  # layers of the base: its own, and the system's packages
_HEAD = (
    "| image | published, s (processor) | patched, s (processor) | layers kept | "
    "new in the registry, MB | base + system + config, MB | attached, MB |"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Two copies of the repository, with the earlier and the newer locks, and a registry."""

    work: Path
    registry: str

    def call(self, copy: str, *words: str) -> tuple[float, float]:
        """Call a function in a copy; the seconds of the clock and of processors."""
        argv = [sys.executable, "-m", "layerline", "call", "-v", "--progress=plain", *words]
        own = {
            "LAYERLINE_STORE": str(self.work / "store"),
            "LAYERLINE_REGISTRY_MIRRORS": f"docker.io=http://{self.registry}",
            "PYTHONPATH": str(_SOURCE),
        }
        began, before = time.monotonic(), processor_seconds()
        place = self.work / copy
        done = command.run(argv, env={**process_environ(), **own}, cwd=place, expect=None)
        said = done.stderr.decode()
        with (self.work / "log").open("a") as log:
            log.write(said)
        if done.status:
            message = f"layerline call {' '.join(words)} failed:\n{said[-4000:]}"
            raise SystemExit(message)
        return time.monotonic() - began, processor_seconds() - before

    def pin(self, copy: str, target: str) -> None:
        """Pin the base and the packages that are offered now, unless they are pinned."""
        path = lock.path(target)
        if "\n# base: " not in (self.work / copy / path).read_text():
            words = ("lock", f"--target={target}", "--upgrade-base", "export", f"--path={path}")
            seconds, _ = self.call(copy, *words)
            print(f"lock {target}: pinned in {seconds:.0f} s", flush=True)

    def publish(self, copy: str, image: str, *flags: str) -> tuple[float, float]:
        """Publish an image under the name of a copy."""
        address = f"--address={self.registry}/patched/{image}:{copy}"
        key = f"--sign-key=file:{self.work / 'own.pem'}"
        return self.call(copy, *flags, "publish", f"--image={image}", address, key)

    def manifest(self, image: str, tag: str) -> dict[str, Any]:
        """The manifest of a published image."""
        url = f"http://{self.registry}/v2/patched/{image}/manifests/{tag}"
        found: dict[str, Any] = (
            httpx.get(url, headers=_ACCEPT, timeout=60).raise_for_status().json()
        )
        return found

    def blobs(self) -> dict[str, int]:
        """The size of each blob in the registry, by digest."""
        found = (self.work / "registry" / "blobs").glob("**/blobs/sha256/*/*/data")
        return {f"sha256:{each.parent.name}": each.stat().st_size for each in found}

    def measure(self, image: str) -> str:
        """Publish an image and patch it; a row of the table."""
        first = self.publish("earlier", image)
        before = self.blobs()
        again = self.publish("newer", image, f"--earlier-locks={self.work / 'earlier' / 'locks'}")
        new = {name: size for name, size in self.blobs().items() if name not in before}
        was, now = (self.manifest(image, tag) for tag in ("earlier", "newer"))
        kept = sum(one == other for one, other in zip(was["layers"], now["layers"], strict=True))
        above = len(now["layers"]) - _BELOW
        parts = [now["config"], *now["layers"]]
        pushed = sum(new.get(each["digest"], 0) for each in parts)
        allowed = sum(each["size"] for each in (now["config"], *now["layers"][:_BELOW]))
        attached = sum(new.values()) - pushed
        if kept < above or pushed > allowed:
            print(f"{image}: {json.dumps([was['layers'], now['layers']])}", file=sys.stderr)
        return (
            f"| `{image}` | {first[0]:.0f} ({first[1]:.0f}) | {again[0]:.0f} ({again[1]:.0f}) | "
            f"{kept} of {above} | {pushed / 1e6:.1f} | {allowed / 1e6:.1f} | {attached / 1e6:.1f} |"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure patches.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--image", action="append", default=[])
    given = parser.parse_args()
    host.enter_namespaces()
    work: Path = given.work.absolute()
    (work / "registry").mkdir(parents=True, exist_ok=True)
    if not (work / "earlier").exists():
        Repository.copied(work / "earlier", image="api")
        shutil.copytree(work / "earlier", work / "newer", symlinks=True)
        new_key(work, "own")
    with serving(work / "registry") as address:
        _measure(Site(work=work, registry=address), given.image)


def _measure(site: Site, chosen: Sequence[str]) -> None:
    definition = parse_definition((site.work / "earlier" / DEFINITION).read_text())
    images = chosen or sorted(definition.images)
    targets = sorted({definition.image(image).target for image in images})
    cache = cache_directory(process_environ())
    serve_suite(site.registry, cache, _BASE, _SUITE)
    for target in targets:
        site.pin("earlier", target)
    serve(site.registry, cache)
    for target in targets:
        site.pin("newer", target)
    print(_HEAD, "|---" * 7 + "|", sep="\n", flush=True)
    for image in images:
        print(site.measure(image), flush=True)


if __name__ == "__main__":
    main()
