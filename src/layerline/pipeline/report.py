"""Reports on a build as a self-contained HTML page and as JSON.

The report is made from the evidence and the plan. Steps have a duration and an order but no time of
day: the evidence of a cached step is that of the run which produced it.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from layerline.pipeline.environment import program
from layerline.pipeline.plan import MEGABYTE, Plan
from layerline.pipeline.probe import Evidence

KILOBYTE = 10**3
Report = dict[str, Any]


def document(image: str, target: str, found: Sequence[Evidence], plan: Plan) -> Report:
    """The report of an image as data.

    Layers start together; the image starts after the slowest installation, though its probes also
    wait for those of layers that other layers depend on.
    """
    why = {step.name: step.why for step in plan.steps}
    steps = [_step(each, why.get(each["subject"], "")) for each in found]
    layers, final = steps[:-1], steps[-1]
    ready = max((each["seconds"] for each in layers), default=0.0)
    base = {"name": "base", "why": why["base"]}
    final["why"] = plan.steps[-1].why
    return {
        "image": image,
        "target": target,
        "bytes": sum(each["bytes"] for each in layers),
        "base": base,
        "layers": [{"begin": 0.0, **each} for each in layers],
        "final": {"begin": round(ready, 3), **final},
    }


def _step(found: Evidence, why: str) -> Report:
    packages = sorted(found["packages"], key=lambda each: (-each["bytes"], each["name"]))
    return {
        "name": found["subject"],
        "why": why,
        "seconds": found.get("seconds", 0.0),
        "probe_seconds": round(sum(each["seconds"] for each in found["probes"]), 3),
        "bytes": sum(each["bytes"] for each in packages),
        "packages": packages,
        "probes": found["probes"],
    }


def page(report: Report) -> str:
    """The report as a page."""
    title = escape(f"{report['image']} ({report['target']})")
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{_pluralize(len(report['layers']), 'layer')} with {_size(report['bytes'])} of "
        "packages; all probes passed.</p>",
        *_cache_table(report),
        *_timeline(report),
        *_matrix(report),
        *_sizes(report),
        *_probe_outputs(report),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{program('report.css')}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _cache_table(report: Report) -> Iterator[str]:
    yield "<h2>Cache</h2>\n<table>"
    for each in (report["base"], *report["layers"], report["final"]):
        state = f'<span class="run">{escape(each["why"])}</span>' if each["why"] else "cached"
        yield f"<tr><th>{escape(each['name'])}</th><td>{state}</td></tr>"
    yield "</table>"


def _timeline(report: Report) -> Iterator[str]:
    steps = (*report["layers"], report["final"])
    ends = [each["begin"] + each["seconds"] + each["probe_seconds"] for each in steps]
    length = max(*ends, 0.001)
    yield "<h2>Steps</h2>"
    yield (
        '<p><span class="key bar"></span> installation <span class="key probe"></span> probes, '
        "in seconds, as measured when each ran; layers are built in parallel.</p>"
    )
    for each in steps:
        widths = [100 * each[key] / length for key in ("begin", "seconds", "probe_seconds")]
        taken = f"{each['seconds']:.1f} + {each['probe_seconds']:.1f} s"
        yield (
            f'<div class="step"><div><b>{escape(each["name"])}</b><span>{taken}</span></div>'
            f'<div class="track"><span style="width:{widths[0]:.2f}%"></span>'
            f'<span class="bar" style="width:{widths[1]:.2f}%"></span>'
            f'<span class="probe" style="width:{widths[2]:.2f}%"></span></div></div>'
        )


def _matrix(report: Report) -> Iterator[str]:
    subjects = (*report["layers"], report["final"])
    names = list(dict.fromkeys(one["probe"] for each in subjects for one in each["probes"]))
    yield '<h2>Probes</h2>\n<div class="wide"><table class="matrix">'
    heads = "".join(f"<th>{escape(name)}</th>" for name in names)
    yield f"<tr><th></th>{heads}</tr>"
    for each in subjects:
        results = {one["probe"]: one["result"] for one in each["probes"]}
        cells = "".join(
            f'<td class="{escape(results[name])}">{escape(results[name])}</td>'
            if name in results
            else "<td></td>"
            for name in names
        )
        yield f"<tr><th>{escape(each['name'])}</th>{cells}</tr>"
    yield "</table></div>"


def _sizes(report: Report) -> Iterator[str]:
    largest = max((each["bytes"] for each in report["layers"]), default=0) or 1
    yield "<h2>Size</h2>"
    for each in sorted(report["layers"], key=lambda layer: -layer["bytes"]):
        width = 100 * each["bytes"] / largest
        rows = "".join(
            f"<tr><td>{escape(one['name'])} {escape(one['version'])}</td>"
            f'<td class="number">{_size(one["bytes"])}</td></tr>'
            for one in each["packages"]
        )
        yield (
            f"<details><summary><b>{escape(each['name'])}</b> {_size(each['bytes'])} in "
            f"{_pluralize(len(each['packages']), 'package')}"
            f'<div class="track"><span class="bar" style="width:{width:.2f}%"></span></div>'
            f"</summary><table>{rows}</table></details>"
        )


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


def _size(count: int) -> str:
    if count < MEGABYTE:
        return f"{count / KILOBYTE:.0f} kB"
    return f"{count / MEGABYTE:,.1f} MB"
