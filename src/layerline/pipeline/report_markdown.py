"""A report as Markdown for a pull request: GitHub's and GitLab's tables, folded where long."""

from collections.abc import Iterator

from layerline.pipeline.report import Report, format_size, passed

_SHOWN = 20


def text(report: Report) -> str:
    """The report as Markdown."""
    return "\n".join([*_head(report), *_layers(report), *_changes(report)]) + "\n"


def _head(report: Report) -> Iterator[str]:
    yield f"### `{report['image']}` ({report['target']})"
    yield ""
    commit = f", commit `{report['commit']}`" if report["commit"] else ""
    yield (
        f"{len(report['layers'])} layers, {format_size(report['bytes'])} of packages, "
        f"probes: {passed(report)}, {report['seconds']:.1f} s{commit}, {report['date']}"
    )
    yield ""


def _layers(report: Report) -> Iterator[str]:
    yield "| layer | size | time | probes | |"
    yield "| --- | ---: | ---: | --- | --- |"
    for each in (*report["layers"], report["final"]):
        size = format_size(each["bytes"]) if each["bytes"] else ""
        taken = f"{each['seconds'] + each['probe_seconds']:.1f} s"
        why = _cell(each["why"]) if each["why"] else "reused"
        yield f"| {_cell(each['name'])} | {size} | {taken} | {passed(each)} | {why} |"
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
