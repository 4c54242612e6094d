"""A report as Markdown for a pull request: GitHub's and GitLab's tables, folded where long."""

from collections.abc import Iterator

from layerline.pipeline import audit_formats
from layerline.pipeline.report import Report, facts, format_size, passed, time_of

_SHOWN = 20


def text(report: Report) -> str:
    """The report as Markdown."""
    parts = (_head, _layers, _audit, _gpu_code, _changes)
    return "".join(f"{line}\n" for part in parts for line in part(report))


def _head(report: Report) -> Iterator[str]:
    yield f"### {report['image']}: {_verdict(report)}"
    yield ""
    yield f"| image | `{report['image']}` ({report['target']}) |"
    yield "| --- | --- |"
    for name, value in facts(report):
        shown = f"`{value}`" if name in ("commit", "digest") else _cell(value)
        yield f"| {name} | {shown} |"
    yield ""


def _verdict(report: Report) -> str:
    made = [each for each in report["layers"] if each["why"]]
    what = f"{len(made)} of {len(report['layers'])} layers rebuilt" if made else "all layers reused"
    return f"{what}, probes: {passed(report)}"


def _layers(report: Report) -> Iterator[str]:
    yield "| layer | size | time | probes | |"
    yield "| --- | ---: | ---: | --- | --- |"
    for each in (*report["layers"], report["final"]):
        size = format_size(each["bytes"]) if each["bytes"] else ""
        why = _cell(each["why"]) if each["why"] else "reused"
        yield f"| {_cell(each['name'])} | {size} | {time_of(each)} | {passed(each)} | {why} |"
    yield ""


def _audit(report: Report) -> Iterator[str]:
    if report["audit"]:
        yield from audit_formats.markdown(report["audit"]).splitlines()
        yield ""


def _gpu_code(report: Report) -> Iterator[str]:
    if not report["gpu_code"]:
        return
    yield "<details><summary>GPU code by architecture</summary>"
    yield ""
    yield "| architecture | size |"
    yield "| --- | ---: |"
    for each in report["gpu_code"]:
        yield f"| {each['architecture']} | {format_size(each['bytes'])} |"
    yield ""
    yield "</details>"
    yield ""


def _changes(report: Report) -> Iterator[str]:
    changes = report["changes"]
    if not changes:
        return
    folded = len(changes) > _SHOWN
    if folded:
        yield f"<details><summary>{len(changes)} packages changed</summary>"
        yield ""
    yield "| package | before | after | bytes |"
    yield "| --- | --- | --- | ---: |"
    for each in changes:
        more = f"{'+' if each['bytes'] > 0 else '-'}{format_size(abs(each['bytes']))}"
        yield f"| {_cell(each['name'])} | {each['before']} | {each['after']} | {more} |"
    if folded:
        yield ""
        yield "</details>"


def _cell(content: str) -> str:
    """The text as a cell of a table shows it: neither a column nor markup of its own."""
    return content.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
