"""What a build would run and why, compared with an earlier one; nothing is started for it.

The earlier build is known by its evidence, as the function of that name gives it: what each part
was made from, how long that took, and how many bytes it brought.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerline.pipeline import changes
from layerline.pipeline.changes import Files
from layerline.pipeline.layer import Layer
from layerline.pipeline.probe import Evidence, subject_of

MEGABYTE = 10**6
UNKNOWN = "no earlier build is known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of an image. `why` says what makes it run again; empty where nothing does.

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
            f"{'run ' if step.why else 'keep'}  {step.name}{': ' + step.why if step.why else ''}"
            for step in self.steps
        ]
        if not running:
            return "\n".join([*lines, f"Nothing of {self.image} would run."]) + "\n"
        size = sum(step.size or 0 for step in running) / MEGABYTE
        download = sum(step.download for step in running) / MEGABYTE
        seconds = sum(step.seconds for step in running)
        unknown = [step.name for step in running if step.size is None]
        said = [f"expected: at most {download:.0f} MB to download, {size:.0f} MB more on the disk"]
        said += [f"{seconds:.0f} s of work" if seconds else "no times known"]
        said += [f"nothing known of {', '.join(unknown)}"] if unknown else []
        return "\n".join([*lines, "; ".join(said)]) + "\n"


def of_image(
    image: str,
    layers: Sequence[Layer],
    *,
    now: Mapping[str, Evidence],
    earlier: Sequence[Evidence],
    files: Files,
) -> Plan:
    """The plan of an image. `now` is what each part is made from, `files` those that changed."""
    known = {each["subject"]: each for each in earlier}
    subject, whole = subject_of(image), f"{image} and its probes"
    if subject not in known:
        names = ["base", *(layer.name for layer in layers), whole]
        return Plan(image=image, steps=tuple(Step(name=name, why=UNKNOWN) for name in names))
    before = known[subject]
    moved = changes.of_files(before["files"], files)
    ground = "; ".join(changes.of_values(before["inputs"], now[subject]["inputs"], said=moved))
    steps = [Step(name="base", why=ground, size=None if ground else 0)]
    steps += _layer_steps(layers, now, known, ground=ground, moved=moved)
    why = [*_image_changed(image, before, now[subject], moved)]
    why += ["layers"] if any(step.why for step in steps) else []
    steps.append(Step(name=whole, why="; ".join(why), size=0, seconds=_probed(before)))
    return Plan(image=image, steps=tuple(steps))


def _layer_steps(
    layers: Sequence[Layer],
    now: Mapping[str, Evidence],
    known: Mapping[str, Evidence],
    *,
    ground: str,
    moved: Mapping[str, str],
) -> Iterator[Step]:
    """Layers that are installed anew, that are only probed again, and that are kept."""
    fresh = {}
    for layer in layers:
        reasons = ["what it stands on"] if ground else []
        if layer.name in known:
            reasons += _layer_changed(layer, known[layer.name], now[layer.name], moved)
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
                download=_download(layer, before, everything=bool(ground)),
                seconds=before["seconds"] + _probed(before),
            )
        else:
            below = [name for name in sorted(layer.needs) if fresh.get(name)]
            reasons = [*changes.of_values(before["probed"], now[layer.name]["probed"])]
            reasons += [f"it stands on {', '.join(below)}"] if below else []
            why = f"its probes alone: {'; '.join(reasons)}" if reasons else ""
            yield Step(name=layer.name, why=why, size=0, seconds=_probed(before))


def _layer_changed(
    layer: Layer, before: Evidence, now: Evidence, moved: Mapping[str, str]
) -> Iterator[str]:
    """What makes a layer be installed anew, other than what it stands on."""
    old = {str(each["name"]): str(each["version"]) for each in before["packages"]}
    new = {pin.name: pin.version for pin in layer.pins}
    if lines := list(changes.of_versions(old, new)):
        yield ", ".join(lines)
    elif before["lock"] != now["lock"]:
        yield "other hashes in the lock"
    yield from changes.of_values(before["wheels"], now["wheels"], said=moved)


def _image_changed(
    image: str, before: Evidence, now: Evidence, moved: Mapping[str, str]
) -> Iterator[str]:
    """What makes an image be put together and probed anew, other than its layers."""
    if before["source"] != now["source"]:
        yield f"source: {moved.get('source') or 'other modes or owners'}"
    was, spec = before["image"], now["image"]
    for key in sorted(key for key in spec if was.get(key) != spec[key]):
        yield f"images.{image}.{key} changed"
    yield from changes.of_values(before["probed"], now["probed"])


def _download(layer: Layer, before: Evidence, *, everything: bool) -> int:
    """What may be fetched: the wheels that are in no cache volume, as heavy as those before."""
    kept = {} if everything else {pin.name: pin.version for pin in layer.pins}
    return sum(
        int(before["downloaded"].get(each["name"], each["bytes"]))
        for each in before["packages"]
        if kept.get(each["name"]) != each["version"]
    )


def _probed(before: Evidence) -> float:
    return float(sum(each["seconds"] for each in before["probes"]))


def lock_digest(layer: Layer) -> str:
    """The identity of a layer's lines of the lock, and of those that build its wheels."""
    return changes.digest(f"{layer.requirements}\n{layer.build_requirements}")
