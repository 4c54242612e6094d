"""Reports on a build as a self-contained HTML page and as JSON.

The report is made from the evidence and the plan. The evidence of a cached step is that of the run
which produced it; its times are those of this one, in which it took none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from layerline.pipeline import audit_formats, cold_start, gpu_code
from layerline.pipeline.environment import program
from layerline.pipeline.plan import MEGABYTE, Plan
from layerline.pipeline.probe import Evidence

KILOBYTE = 10**3
_LAYERS = re.compile(r"\blayers$")  # as the plan has it, which is about what would change
Report = dict[str, Any]


def document(
    image: str,
    target: str,
    found: Sequence[Evidence],
    plan: Plan,
    *,
    earlier: Sequence[Evidence] = (),
    origin: Mapping[str, Any],
    audit: Report | None = None,
) -> Report:
    """The report of an image as data; times are seconds since the build began.

    `audit` is what the function `audit` gives as JSON. `origin` has the project, commit and date,
    each of which may be empty, the image's digest, the bytes of its layers, and whether bytecode is
    among them.
    """
    why = {step.name: step.why for step in plan.steps}
    compiled = bool(origin["bytecode"])
    steps = [_step(each, why.get(each["subject"], ""), compiled=compiled) for each in found]
    layers, final = steps[:-1], steps[-1]
    base = {"name": "base", "why": why["base"]}
    final["why"] = _LAYERS.sub("its layers changed", plan.steps[-1].why)
    return {
        "image": image,
        "target": target,
        "project": origin["project"],
        "commit": origin["commit"],
        "date": origin["date"],
        "digest": origin["digest"],
        "image_bytes": origin["bytes"],
        "seconds": max((end for each in steps for _, end in each["times"].values()), default=0.0),
        "bytes": sum(each["bytes"] for each in layers),
        "bytecode_bytes": sum(each["bytecode"]["bytes"] for each in layers),
        "base": base,
        "layers": layers,
        "final": final,
        "start": found[-1].get("start", {}),
        "gpu_code": gpu_code.by_architecture(found),
        "audit": audit,
        "changes": _changes(earlier, found) if earlier else [],
    }


def _changes(earlier: Sequence[Evidence], found: Sequence[Evidence]) -> list[Report]:
    """The packages whose version is another one, with the bytes that they have more."""
    before, after = _packages(earlier), _packages(found)
    missing = {"version": "", "bytes": 0}
    pairs = {name: (before.get(name, missing), after.get(name, missing)) for name in before | after}
    return [
        {
            "name": name,
            "before": old["version"],
            "after": new["version"],
            "bytes": new["bytes"] - old["bytes"],
        }
        for name, (old, new) in sorted(pairs.items())
        if old["version"] != new["version"]
    ]


def _packages(found: Sequence[Evidence]) -> dict[str, Report]:
    return {package["name"]: package for each in found for package in each["packages"]}


def _step(found: Evidence, why: str, *, compiled: bool) -> Report:
    bytecode = found.get("bytecode") if compiled else None
    packages = sorted(found["packages"], key=lambda each: (-each["bytes"], each["name"]))
    return {
        "name": found["subject"],
        "why": why,
        "seconds": found.get("seconds", 0.0),
        "probe_seconds": round(sum(each["seconds"] for each in found["probes"]), 3),
        "bytes": sum(each["bytes"] for each in packages),
        "packages": packages,
        "bytecode": bytecode or {"files": 0, "bytes": 0, "seconds": 0.0, "left_out": []},
        "probes": found["probes"],
        "times": found.get("times", {}),
    }


def passed(report: Report) -> str:
    """`5 of 5 passed`, of a layer or of all of them."""
    steps = [*report["layers"], report["final"]] if "layers" in report else [report]
    results = [one["result"] for each in steps for one in each["probes"]]
    return f"{results.count('passed')} of {len(results)} passed"


def time_of(step: Report) -> str:
    """How long a layer or the image took in this build; empty for one that is reused."""
    taken = sum(end - begin for begin, end in step["times"].values())
    return f"{taken:.1f} s" if step["why"] else ""


def page(report: Report) -> str:
    """The report as a page."""
    title = escape(f"{report['image']} ({report['target']})")
    parts = [
        f"<h1>{title}</h1>",
        *_facts(report),
        *_layers(report),
        *_timeline(report),
        *_changed(report),
        *_sizes(report),
        *_gpu_code(report),
        *(audit_formats.html(report["audit"]) if report["audit"] else ()),
        *_probe_outputs(report),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{program('report.css')}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def facts(report: Report) -> Iterator[tuple[str, str]]:
    """What is to be known first, as names and values; nothing without a value."""
    compiled = report["bytecode_bytes"]
    named = {
        "project": report["project"],
        "commit": report["commit"],
        "date": report["date"],
        "digest": report["digest"],
        "size": f"{format_size(report['image_bytes'])} to transfer; "
        f"{_pluralize(len(report['layers']), 'layer')} with {format_size(report['bytes'])} of "
        f"packages{f' and {format_size(compiled)} of their bytecode' if compiled else ''}",
        "probes": passed(report),
        "time": f"{report['seconds']:.1f} s",
        "start": cold_start.describe(report["start"]) if report["start"] else "",
    }
    return ((name, value) for name, value in named.items() if value)


def _facts(report: Report) -> Iterator[str]:
    yield '<table class="facts">'
    for name, value in facts(report):
        yield f"<tr><th>{name}</th><td>{escape(value)}</td></tr>"
    yield "</table>"


def _layers(report: Report) -> Iterator[str]:
    yield '<h2>Layers</h2>\n<table class="layers">'
    yield "<tr><th>layer</th><th>probes</th>"
    yield '<th class="number">size</th><th class="number">time</th></tr>'
    for each in (report["base"], *report["layers"], report["final"]):
        style, state = ("run", each["why"]) if each["why"] else ("", "reused")
        size, taken = "", ""
        if "probes" in each:
            size = format_size(each["bytes"]) if each["bytes"] else ""
            taken = time_of(each)
        state = escape(state).replace("-&gt;", "→")
        yield (
            f'<tr><th>{escape(each["name"])}<div class="{style}">{state}</div></th>'
            f'<td class="passed">{passed(each) if "probes" in each else ""}</td>'
            f'<td class="number">{size}</td><td class="number">{taken}</td></tr>'
        )
    yield "</table>"


def _timeline(report: Report) -> Iterator[str]:
    length = max(report["seconds"], 0.001)
    yield "<h2>Timeline</h2>"
    yield (
        '<p><span class="key bar"></span> installation <span class="key compile"></span> bytecode '
        '<span class="key probe"></span> probes, '
        "from when each started to when it ended in this build; what is reused was only looked up."
        "</p>"
    )
    for each in (*report["layers"], report["final"]):
        times = each["times"]
        cells, at = [], 0.0
        for kind, style in (("install", "bar"), ("compile", "compile"), ("probes", "probe")):
            begin, end = times.get(kind, (at, at))
            cells.append(f'<span style="width:{100 * (begin - at) / length:.2f}%"></span>')
            cells.append(
                f'<span class="{style}" style="width:{100 * (end - begin) / length:.2f}%"></span>'
            )
            at = end
        taken = " + ".join(f"{end - begin:.1f}" for begin, end in times.values()) or "0"
        yield (
            f'<div class="step"><div><b>{escape(each["name"])}</b><span>{taken} s</span></div>'
            f'<div class="track">{"".join(cells)}</div></div>'
        )


def _changed(report: Report) -> Iterator[str]:
    if not report["changes"]:
        return
    yield "<h2>Changed since the earlier build</h2>\n<table>"
    yield '<tr><th>package</th><th>before</th><th>after</th><th class="number">bytes</th></tr>'
    for each in report["changes"]:
        sign = "+" if each["bytes"] > 0 else "-"
        yield (
            f"<tr><th>{escape(each['name'])}</th><td>{escape(each['before'])}</td>"
            f"<td>{escape(each['after'])}</td>"
            f'<td class="number">{sign}{format_size(abs(each["bytes"]))}</td></tr>'
        )
    yield "</table>"


def _sizes(report: Report) -> Iterator[str]:
    largest = max((each["bytes"] for each in report["layers"]), default=0) or 1
    yield "<h2>Size</h2>"
    for each in sorted(report["layers"], key=lambda layer: -layer["bytes"]):
        width = 100 * each["bytes"] / largest
        rows = "".join(
            f"<tr><td>{escape(one['name'])} {escape(one['version'])}</td>"
            f'<td class="number">{format_size(one["bytes"])}</td></tr>'
            for one in each["packages"]
        )
        rows += "".join(_bytecode(each["bytecode"]))
        yield (
            f"<details><summary><b>{escape(each['name'])}</b> {format_size(each['bytes'])} in "
            f"{_pluralize(len(each['packages']), 'package')}"
            f'<div class="track"><span class="bar" style="width:{width:.2f}%"></span></div>'
            f"</summary><table>{rows}</table></details>"
        )


def _bytecode(found: Report) -> Iterator[str]:
    """The row of a layer's bytecode, which is a layer of its own."""
    if not found["files"]:
        return
    without = len(found["left_out"])
    more = f", {_pluralize(without, 'file')} did not compile" if without else ""
    yield (
        f"<tr><td>bytecode of {_pluralize(found['files'], 'file')}{more}</td>"
        f'<td class="number">{format_size(found["bytes"])}</td></tr>'
    )


def _gpu_code(report: Report) -> Iterator[str]:
    if not report["gpu_code"]:
        return
    yield "<h2>GPU code</h2>\n<p>Bytes in the libraries' files, most of them compressed.</p>"
    yield '<table class="found"><tr><th>architecture</th>'
    yield '<th class="number">size</th><th>packages</th></tr>'
    for each in report["gpu_code"]:
        largest = sorted(each["packages"].items(), key=lambda one: (-one[1], one[0]))
        names = ", ".join(f"{escape(name)} {format_size(size)}" for name, size in largest)
        yield (
            f"<tr><th>{escape(each['architecture'])}</th>"
            f'<td class="number">{format_size(each["bytes"])}</td><td>{names}</td></tr>'
        )
    yield "</table>"


def _probe_outputs(report: Report) -> Iterator[str]:
    yield "<h2>Output of the probes</h2>"
    for each in (*report["layers"], report["final"]):
        said = "".join(
            f"<p><b>{escape(one['probe'])}</b> {escape(one['result'])} in {one['seconds']:.1f} s"
            "</p>"
            f"<pre>{escape(one['output'])}</pre>"
            for one in each["probes"]
        )
        yield f"<details><summary><b>{escape(each['name'])}</b></summary>{said}</details>"


def _pluralize(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def format_size(count: int) -> str:
    """A size in powers of 1000."""
    if count < MEGABYTE:
        return f"{count / KILOBYTE:.0f} kB"
    return f"{count / MEGABYTE:,.1f} MB"
