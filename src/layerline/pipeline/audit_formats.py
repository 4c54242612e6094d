"""An audit as text, Markdown, SARIF and JSON."""

import json
from collections.abc import Callable, Iterator, Mapping
from html import escape
from types import MappingProxyType
from typing import Any

from layerline.pipeline.errors import PipelineError
from layerline.pipeline.vulnerability import ACCEPTED, REFUSED, REPORTED, Document

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = MappingProxyType({REFUSED: "error", ACCEPTED: "note"})
# GitHub sorts and gates by the property `security-severity`; of no score, the least of its rating.
_SCORES = MappingProxyType({"low": 0.1, "medium": 4.0, "high": 7.0, "critical": 9.0})


def text(made: Document) -> str:
    """The audit for a terminal: a line for each vulnerability, the refused ones first."""
    lines = [f"{', '.join(made['images'])}: {verdict(made)}"]
    for each in made["vulnerabilities"]:
        lines.append(
            f"{each['status']:<8}  {_rating(each):<13}  {each['id']}  {each['package']} "
            f"{each['version']}  {_fix(each)}  {each['path']}:{each['line']}"
        )
        if each["status"] != REPORTED:
            lines.append(f"          {each['summary'] or each['url']}")
        if each["status"] == ACCEPTED:
            lines.append(f"          accepted until {each['until']}: {each['reason']}")
    for each in made["licenses"]:
        lines.append(
            f"{each['status']:<8}  licence        {each['license']}  {each['package']} "
            f"{each['version']}  {each['path']}:{each['line']}"
        )
        if each["status"] == ACCEPTED:
            lines.append(f"          accepted until {each['until']}: {each['reason']}")
    lines += [f"note: {each}" for each in made["notes"]]
    lines += _data(made)
    lines += _next_steps(made)
    return "".join(f"{line}\n" for line in lines)


def _next_steps(made: Document) -> Iterator[str]:
    """Yield what to do about what is refused."""
    refused = [each for each in made["vulnerabilities"] if each["status"] == REFUSED]
    wheels = sorted({each["package"] for each in refused if each["kind"] == "pypi"})
    command = "layerline call lock --target=TARGET"
    if wheels:
        yield f"to update: {command} --upgrade={','.join(wheels)}"
    if any(each["kind"] == "deb" for each in refused):
        yield f"to update the base and its packages: {command} --upgrade-base"
    if refused or any(each["status"] == REFUSED for each in made["licenses"]):
        yield "to accept one for a while: [audit.exceptions.ID] of layerline.toml, reason and until"


def verdict(made: Document) -> str:
    """How many were found, and how many fail."""
    found, licences = made["vulnerabilities"], _denied(made)
    if not found:
        return f"no known vulnerability{licences}"
    counts = {
        status: sum(each["status"] == status for each in found) for status in (REFUSED, ACCEPTED)
    }
    rule = f"{made['policy']['severity']} or worse" + (
        "" if made["policy"]["unfixed"] else ", with a fixed version"
    )
    return (
        f"{len(found)} known vulnerabilit{'y' if len(found) == 1 else 'ies'}, {counts[REFUSED]} "
        f"refused ({rule}), {counts[ACCEPTED]} accepted{licences}"
    )


def _denied(made: Document) -> str:
    refused = sum(each["status"] == REFUSED for each in made["licenses"])
    return f"; {refused} with a denied licence" if refused else ""


def _data(made: Document) -> Iterator[str]:
    """Yield what was compared with what: an audit is as good as its data."""
    for each in made["checked"]:
        records = ", ".join(f"{count} of {name}" for name, count in each["records"].items())
        tracker = ", Debian's security tracker" if each["tracker"] else ""
        yield (
            f"checked {each['image']}: Python packages {each['python_packages']}, packages of "
            f"{each['system']} {each['system_packages']}; OSV records: {records}, the newest of "
            f"{each['newest'][:10] or 'no date'}{tracker}"
        )


def _rating(each: Mapping[str, Any]) -> str:
    score = "" if each["score"] is None else f" {each['score']}"
    return f"{each['severity']}{score}"


def _fix(each: Mapping[str, Any]) -> str:
    return f"fixed in {each['fixed']}" if each["fixed"] else "no fix"


def markdown(made: Document) -> str:
    """The audit for a pull request."""
    lines = [f"### Audit: {verdict(made)}", ""]
    if made["vulnerabilities"]:
        lines += [
            "| | severity | id | package | fixed in | |",
            f"|{' --- |' * 6}",
        ]
        for each in made["vulnerabilities"]:
            state = each["status"] + (f" until {each['until']}" if each["until"] else "")
            cells = [
                *(state, _rating(each), f"[{each['id']}]({each['url']})"),
                *(f"{each['package']} {each['version']}", each["fixed"]),
                each["reason"] or each["summary"],
            ]
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
        lines.append("")
    lines += [f"- {_cell(each)}" for each in (*_licences(made), *made["notes"], *_data(made))]
    return "\n".join(lines) + "\n"


def _licences(made: Document) -> Iterator[str]:
    for each in made["licenses"]:
        until = f" until {each['until']}: {each['reason']}" if each["until"] else ""
        subject = f"{each['package']} {each['version']}"
        yield f"{each['status']}{until}: licence {each['license']} of {subject}"


def _cell(content: str) -> str:
    """The text as a cell shows it: neither a column nor markup of its own."""
    return content.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def html(made: Document) -> Iterator[str]:
    """Yield the lines of the audit in a report's page."""
    yield f"<h2>Known vulnerabilities</h2>\n<p>{escape(verdict(made))}, on {made['date']}</p>"
    if made["vulnerabilities"]:
        yield '<table class="found"><tr><th></th><th>severity</th>'
        yield "<th>package</th><th>fixed in</th></tr>"
    for each in made["vulnerabilities"]:
        style = ' class="run"' if each["status"] == REFUSED else ""
        until = f" until {each['until']}: {each['reason']}" if each["until"] else ""
        yield (
            f'<tr><th><a href="{escape(each["url"])}">{escape(each["id"])}</a>'
            f"<div{style}>{escape(each['status'] + until)}</div></th>"
            f"<td>{escape(_rating(each))}</td>"
            f"<td>{escape(each['package'])} {escape(each['version'])}</td>"
            f"<td>{escape(each['fixed'])}</td></tr>"
        )
    if made["vulnerabilities"]:
        yield "</table>"
    more = (*_licences(made), *made["notes"], *_data(made))
    yield from (f"<p>{escape(each)}</p>" for each in more)


def sarif(made: Document) -> str:
    """The audit in the Static Analysis Results Interchange Format 2.1.0, for code scanning."""
    found = [*made["vulnerabilities"], *map(_as_finding, made["licenses"])]
    rules = {each["id"]: _rule(each) for each in found}
    driver = {
        "name": "layerline audit",
        "informationUri": "https://osv.dev/",
        "rules": list(rules.values()),
    }
    run = {"tool": {"driver": driver}, "results": [_result(each) for each in found]}
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=1) + "\n"


def _as_finding(licence: Mapping[str, Any]) -> Document:
    """A denied licence with the keys of a vulnerability."""
    return {
        **licence,
        "id": "denied-licence",
        "kind": "pypi",
        "severity": "",
        "score": None,
        "summary": f"licence {licence['license']} is denied",
        "url": "https://spdx.org/licenses/",
    }


def _rule(each: Mapping[str, Any]) -> Document:
    score = each["score"] if each["score"] is not None else _SCORES.get(each["severity"])
    properties: Document = {"tags": ["security" if each["severity"] else "licence"]}
    if score is not None:
        properties["security-severity"] = str(score)
    text = each["summary"] if each["severity"] and each["summary"] else each["id"]
    return {
        "id": each["id"],
        "shortDescription": {"text": text},
        "helpUri": each["url"],
        "properties": properties,
    }


def _result(each: Mapping[str, Any]) -> Document:
    place = {
        "artifactLocation": {"uri": each["path"]},
        "region": {"startLine": each["line"]},
    }
    rated = f"{_rating(each)}, {_fix(each)}. " if each["severity"] else ""
    subject = f"{each['package']} {each['version']} of {', '.join(each['images'])}"
    result: Document = {
        "ruleId": each["id"],
        "level": _LEVELS.get(each["status"], "warning"),
        "message": {"text": f"{subject}: {rated}{each['summary']}".strip()},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {
            "vulnerability/v1": f"{each['id']}/{each['kind']}/{each['package']}"
        },
    }
    if each["status"] == ACCEPTED:
        reason = f"{each['reason']} (until {each['until']})"
        accepted = {"kind": "external", "status": "accepted", "justification": reason}
        result["suppressions"] = [accepted]
    return result


def choose(name: str) -> Callable[[Document], str]:
    """What renders a format."""
    if name not in _FORMATS:
        message = f"unknown format {name!r}: use {', '.join(_FORMATS)}"
        raise PipelineError(message)
    return _FORMATS[name]


_FORMATS: Mapping[str, Callable[[Document], str]] = MappingProxyType(
    {
        "text": text,
        "json": lambda made: json.dumps(made, indent=1) + "\n",
        "sarif": sarif,
        "markdown": markdown,
    }
)
