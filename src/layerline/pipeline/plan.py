"""Plans a build: which steps would run and why, compared with an earlier build.

Nothing is started. The earlier build is known by the output of the function `evidence`: the inputs
of each step, how long it took, and how many bytes it downloaded and installed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerline.pipeline import changes
from layerline.pipeline.changes import Files
from layerline.pipeline.layer import Layer
from layerline.pipeline.probe import Evidence, subject_of

MEGABYTE = 10**6
UNKNOWN = "no earlier build"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a build. `why` is the reason to run it, empty if it is cached.

    `size` and `download` in bytes and `seconds` are those of the earlier build; `size` is None
    where it had no such step.
    """

    name: str
    why: str
    size: int | None = None
    download: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of an image in their order."""

    image: str
    steps: tuple[Step, ...]

    def text(self) -> str:
        """The plan for a reader."""
        running = [step for step in self.steps if step.why]
        lines = [
            f"run     {step.name}: {step.why}" if step.why else f"cached  {step.name}"
            for step in self.steps
        ]
        if not running:
            return "\n".join([*lines, f"all steps of {self.image} are cached"]) + "\n"
        size = sum(step.size or 0 for step in running) / MEGABYTE
        download = sum(step.download for step in running) / MEGABYTE
        seconds = sum(step.seconds for step in running)
        unknown = [step.name for step in running if step.size is None]
        said = [f"expected: at most {download:.0f} MB to download, {size:.0f} MB more on disk"]
        said += [f"{seconds:.0f} s of work" if seconds else "unknown duration"]
        said += [f"no estimate for {', '.join(unknown)}"] if unknown else []
        return "\n".join([*lines, "; ".join(said)]) + "\n"


def of_image(
    image: str,
    layers: Sequence[Layer],
    *,
    now: Mapping[str, Evidence],
    earlier: Sequence[Evidence],
    files: Files,
) -> Plan:
    """Plan an image. `now` has the inputs of each step, `files` the digests of source files.

    A changed base, installer or flag runs every step. A layer is installed again if its part of
    the lock or its wheels changed; if only its probes, or a layer that it depends on, changed, it
    is probed again. The image is assembled and probed again after any other step.
    """
    known = {each["subject"]: each for each in earlier}
    subject, final = subject_of(image), f"{image} and its probes"
    if subject not in known:
        names = ["base", *(layer.name for layer in layers), final]
        return Plan(image=image, steps=tuple(Step(name=name, why=UNKNOWN) for name in names))
    before = known[subject]
    changed_files = changes.of_files(before["files"], files)
    base_changes = "; ".join(
        changes.of_values(before["inputs"], now[subject]["inputs"], descriptions=changed_files)
    )
    steps = [Step(name="base", why=base_changes, size=None if base_changes else 0)]
    steps += _layer_steps(
        layers, now, known, base_changes=base_changes, changed_files=changed_files
    )
    why = [*_image_changed(image, before, now[subject], changed_files)]
    why += ["layers"] if any(step.why for step in steps) else []
    steps.append(Step(name=final, why="; ".join(why), size=0, seconds=_probe_seconds(before)))
    return Plan(image=image, steps=tuple(steps))


def _layer_steps(
    layers: Sequence[Layer],
    now: Mapping[str, Evidence],
    known: Mapping[str, Evidence],
    *,
    base_changes: str,
    changed_files: Mapping[str, str],
) -> Iterator[Step]:
    """Yield a step for each layer: to install, only to probe, or cached."""
    fresh = {}
    for layer in layers:
        reasons = ["its base"] if base_changes else []
        if layer.name in known:
            reasons += _layer_changed(layer, known[layer.name], now[layer.name], changed_files)
        else:
            reasons = ["the earlier build has no such layer"]
        fresh[layer.name] = "; ".join(reasons)
    for layer in layers:
        before, why = known.get(layer.name), fresh[layer.name]
        if before is None:
            yield Step(name=layer.name, why=why)
        elif why:
            yield Step(
                name=layer.name,
                why=why,
                size=sum(int(package["bytes"]) for package in before["packages"]),
                download=_download(layer, before, everything=bool(base_changes)),
                seconds=before["seconds"] + _probe_seconds(before),
            )
        else:
            below = [name for name in sorted(layer.needs) if fresh.get(name)]
            reasons = [*changes.of_values(before["probed"], now[layer.name]["probed"])]
            reasons += [f"it depends on {', '.join(below)}"] if below else []
            why = f"probes only: {'; '.join(reasons)}" if reasons else ""
            yield Step(name=layer.name, why=why, size=0, seconds=_probe_seconds(before))


def _layer_changed(
    layer: Layer, before: Evidence, now: Evidence, changed_files: Mapping[str, str]
) -> Iterator[str]:
    """Yield the reasons to install a layer again, other than its base."""
    old = {str(each["name"]): str(each["version"]) for each in before["packages"]}
    new = {pin.name: pin.version for pin in layer.pins}
    if lines := list(changes.of_versions(old, new)):
        yield ", ".join(lines)
    elif before["lock"] != now["lock"]:
        yield "hashes in the lock changed"
    yield from changes.of_values(before["wheels"], now["wheels"], descriptions=changed_files)


def _image_changed(
    image: str, before: Evidence, now: Evidence, changed_files: Mapping[str, str]
) -> Iterator[str]:
    """Yield the reasons to assemble and probe an image again, other than its layers."""
    if before["source"] != now["source"]:
        yield f"source: {changed_files.get('source') or 'modes or owners changed'}"
    was, spec = before["image"], now["image"]
    for key in sorted(key for key in spec if was.get(key) != spec[key]):
        yield f"images.{image}.{key} changed"
    yield from changes.of_values(before["probed"], now["probed"])


def _download(layer: Layer, before: Evidence, *, everything: bool) -> int:
    """Bytes to download at most: wheels in no cache volume, with their earlier sizes."""
    kept = {} if everything else {pin.name: pin.version for pin in layer.pins}
    return sum(
        int(before["downloaded"].get(each["name"], each["bytes"]))
        for each in before["packages"]
        if kept.get(each["name"]) != each["version"]
    )


def _probe_seconds(before: Evidence) -> float:
    return float(sum(each["seconds"] for each in before["probes"]))


def lock_digest(layer: Layer) -> str:
    """The digest of a layer's part of the lock, including its build requirements."""
    return changes.digest(f"{layer.requirements}\n{layer.build_requirements}")
