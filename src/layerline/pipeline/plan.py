"""Plans a build: which steps would run and why, compared with an earlier build.

Nothing is started. The earlier build is known by the output of the function `evidence`: the inputs
of each step, how long it took, and how many bytes it downloaded and installed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerline.pipeline import changes
from layerline.pipeline.changes import Files
from layerline.pipeline.definition import Image
from layerline.pipeline.layer import Layer
from layerline.pipeline.probe import Evidence, subject_of

MEGABYTE = 10**6
UNKNOWN = "no earlier build"
# Of an image whose layers are made on another base: the inputs of that one.
OF_LAYERS = "inputs of layers"
# Of keys that images had not when the earlier build was saved.
_DEFAULTS = {
    key: json.loads(json.dumps(field.get_default(call_default_factory=True)))
    for key, field in Image.model_fields.items()
    if not field.is_required()
}


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
    """The steps of an image in their order: its base, the layers, the image itself."""

    image: str
    target: str
    steps: tuple[Step, ...]

    @property
    def layers(self) -> tuple[Step, ...]:
        """The steps of the layers alone."""
        return self.steps[1:-1]

    @property
    def final(self) -> Step:
        """The step that assembles the image and probes it."""
        return self.steps[-1]

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


def earlier_builds(saved: Iterable[Sequence[Evidence]]) -> dict[str, Sequence[Evidence]]:
    """What the function `evidence` has saved of several images, by image."""
    return {
        str(each["subject"]).removeprefix(subject_of("")): evidence
        for evidence in saved
        for each in evidence
        if str(each["subject"]).startswith(subject_of(""))
    }


def of_image(
    image: str,
    layers: Sequence[Layer],
    *,
    target: str,
    now: Mapping[str, Evidence],
    earlier: Sequence[Evidence],
    files: Files,
) -> Plan:
    """Plan an image. `now` has the inputs of each step, `files` the digests of source files.

    A changed base, installer or flag runs every step; if layers are made on another base, which is
    the same, they are only probed again. A layer is installed again if its part of the lock
    changed; if only its probes, or a layer that it depends on, changed, it is probed again. The
    image is assembled and probed again after any other step.
    """
    known = {each["subject"]: each for each in earlier}
    before = known.get(subject_of(image))
    if before is None:
        return _first_plan(image, target, layers)
    wanted = now[subject_of(image)]
    changed_files = changes.of_files(before["files"], files)
    base = _base_step(before, wanted, changed_files)
    moved = _are_made_elsewhere(before, wanted)
    reasons = {layer.name: _install_reasons(layer, known, now, moved=moved) for layer in layers}
    steps = [base]
    steps += [
        _layer_step(layer, known, now, base=base, moved=moved, reasons=reasons) for layer in layers
    ]
    why = [*_image_changed(image, before, wanted, changed_files)]
    why += ["layers"] if any(step.why for step in steps) else []
    steps.append(
        Step(name=_final(image), why="; ".join(why), size=0, seconds=_probe_seconds(before))
    )
    return Plan(image=image, target=target, steps=tuple(steps))


def _first_plan(image: str, target: str, layers: Sequence[Layer]) -> Plan:
    """Plan an image that was never built: every step runs, at an unknown cost."""
    names = ["base", *(layer.name for layer in layers), _final(image)]
    steps = tuple(Step(name=name, why=UNKNOWN) for name in names)
    return Plan(image=image, target=target, steps=steps)


def _final(image: str) -> str:
    """The name of the last step: assembling the image and probing it."""
    return f"{image} and its probes"


def _base_step(before: Evidence, now: Evidence, changed_files: Mapping[str, str]) -> Step:
    """The step that makes the base, with the installer and the flags."""
    why = "; ".join(changes.of_values(before["inputs"], now["inputs"], descriptions=changed_files))
    return Step(name="base", why=why, size=None if why else 0)


def _are_made_elsewhere(before: Evidence, now: Evidence) -> bool:
    """Whether layers are made on another base than they were, or by another installer."""
    was = before.get(OF_LAYERS) or before["inputs"]
    wanted = now.get(OF_LAYERS) or now["inputs"]
    return any(changes.of_values(was, wanted))


def _install_reasons(
    layer: Layer,
    known: Mapping[str, Evidence],
    now: Mapping[str, Evidence],
    *,
    moved: bool,
) -> str:
    """Why a layer is installed again; empty if it is not."""
    if layer.name not in known:
        return "the earlier build has no such layer"
    reasons = ["its base"] if moved else []
    reasons += _layer_changed(layer, known[layer.name], now[layer.name])
    return "; ".join(reasons)


def _layer_step(
    layer: Layer,
    known: Mapping[str, Evidence],
    now: Mapping[str, Evidence],
    *,
    base: Step,
    moved: bool,
    reasons: Mapping[str, str],
) -> Step:
    """The step of a layer: to install, only to probe, or cached.

    `reasons` are those to install each layer.
    """
    before, why = known.get(layer.name), reasons[layer.name]
    if before is None:
        return Step(name=layer.name, why=why)
    if not why:
        why = _probe_reasons(layer, before, now[layer.name], reasons, base=base)
        return Step(name=layer.name, why=why, size=0, seconds=_probe_seconds(before))
    compiled = before.get("bytecode", {"bytes": 0, "seconds": 0.0})  # of a version without it
    return Step(
        name=layer.name,
        why=why,
        size=sum(int(package["bytes"]) for package in before["packages"]) + compiled["bytes"],
        download=_download(layer, before, everything=moved),
        seconds=before["seconds"] + compiled["seconds"] + _probe_seconds(before),
    )


def _probe_reasons(
    layer: Layer, before: Evidence, now: Evidence, reasons: Mapping[str, str], *, base: Step
) -> str:
    """Why an installed layer is probed again; empty if it is not."""
    below = [name for name in sorted(layer.needs) if reasons.get(name)]
    found = ["its base"] if base.why else []
    found += changes.of_values(before["probed"], now["probed"])
    found += [f"it depends on {', '.join(below)}"] if below else []
    return f"probes only: {'; '.join(found)}" if found else ""


def _layer_changed(layer: Layer, before: Evidence, now: Evidence) -> Iterator[str]:
    """Yield the reasons to install a layer again, other than its base."""
    old = {str(each["name"]): str(each["version"]) for each in before["packages"]}
    new = {pin.name: pin.version for pin in layer.pins}
    if lines := list(changes.of_versions(old, new)):
        yield ", ".join(lines)
    elif before["lock"] != now["lock"]:
        yield "hashes in the lock changed"


def _image_changed(
    image: str, before: Evidence, now: Evidence, changed_files: Mapping[str, str]
) -> Iterator[str]:
    """Yield the reasons to assemble and probe an image again, other than its layers."""
    if before["source"] != now["source"]:
        yield f"source: {changed_files.get('source') or 'modes or owners changed'}"
    for place in sorted(changed_files):
        if place.startswith("project "):
            yield f"{place}: {changed_files[place]}"
    was, spec = before["image"], now["image"]
    for key in sorted(key for key in spec if was.get(key, _DEFAULTS.get(key)) != spec[key]):
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
