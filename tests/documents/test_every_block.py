"""No block escapes: each is run by a session or in the table of what cannot be; all are checked."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

import layerline
from layerline.engine.attestation.policy import read_policy
from layerline.errors import HostError
from layerline.pipeline.definition import parse_definition
from layerline.settings import Settings
from tests.documents.blocks import (
    HOME,
    LANGUAGES,
    PAGES,
    Block,
    Command,
    blocks,
    inline_code,
    simple_commands,
)
from tests.documents.checks import check, functions, known_flags, required_flags
from tests.documents.elsewhere import ROWS, reason
from tests.documents.sessions import SESSIONS
from tests.published import new_key
from tests.sigstore_services import serving_sigstore

# Its blocks are the help of the commands, compared by tests/unit/test_reference.py.
GENERATED = "docs/reference/command-line.md"
ALL = [block for page in PAGES for block in blocks(page) if block.page != GENERATED]
COMMANDS = [command for block in ALL for command in block.commands()]
SETTINGS = frozenset(
    {"cache", "compression", "limits", "registries", "signing", "storage", "wheels"}
)
# Of what a block leaves out, so the rest of it can be read.
REST = {
    "targets": "[targets.cpu]\n",
    "groups": '[groups.core]\nrequirements = ["numpy"]\n',
    "images": '[images.other]\ntarget = "cpu"\ngroups = ["core"]\n',
}
# Programs whose command lines stand in a sentence, and which are checked like those in blocks.
PROGRAMS = r"(sudo |time )?(\./|\.venv/bin/)?(layerline|docker|invoke|nox|pytest|python3?|curl) "
# They tell of earlier versions, and of how not to write.
OF_THE_PAST = frozenset({"CHANGELOG.md", "STYLE.md"})
# Flags of docker, podman and Hydra, of an old program, and of the SDK's runtime.
OF_OTHERS = frozenset(
    {
        *(
            "--cap-drop",
            "--env-file",
            "--gpus",
            "--mount",
            "--privileged",
            "--publish",
            "--read-only",
        ),
        *(
            "--secret",
            "--shm-size",
            "--user",
            "--userns",
            "--cfg",
            "--multirun",
            "--port",
            "--register",
        ),
    }
)
# Their names say what they are for.
ABOUT_THEMSELVES = {HOME / name for name in ("CHANGELOG.md", "SECURITY.md", "docs/changelog.md")}
WHEEL = r"layerline-(\d[\w.]*)-py3-none-any\.whl"
USAGES = frozenset({"layerline call [FLAGS] FUNCTION [FLAGS]"})
# Messages and outputs that stand alone: the file that prints them, and its words in them.
OUTPUTS = {
    "outputs/logs cannot be written": (
        "src/ct_scan_mlops/outputs.py",
        ("cannot be written (", "belongs to ", "this process runs as ", "start the container with"),
    ),
    "# base: debian:bookworm-slim": (
        "src/layerline/pipeline/base_pins.py",
        ("# base: ", "# packages: ", "# deb: ", "# extra deb: "),
    ),
    "the distribution's packages are not": (
        "src/layerline/pipeline/programs/pinned_packages.sh",
        (
            "the distribution's packages are not those of the lock:",
            "(sha256:",
            "), the sources offer ",
            "pin what is offered with '",
            "or name a snapshot that has them in base.snapshot",
        ),
    ),
    "15:17:52     done": (
        "src/layerline/cli/display/summary.py",
        (
            "rebuilt",
            "reused",
            "probes passed",
            "downloaded",
            "slowest: ",
            "image ",
            "written ",
            "next ",
        ),
    ),
}


def test_the_pages_are_those_of_the_repository() -> None:
    names = {page.relative_to(HOME).as_posix() for page in PAGES}
    wheels = {each for page in PAGES for each in re.findall(WHEEL, page.read_text())}
    assert wheels == {layerline.__version__}
    assert {"README.md", "CONTRIBUTING.md", "docs/how-to/verify.md", GENERATED} <= names
    assert [block.place for block in ALL if block.language not in LANGUAGES] == []


def test_every_command_is_run_or_is_in_the_table() -> None:
    pages = {session.page for session in SESSIONS}
    assert [
        f"{command.block.place}: {command.text}"
        for command in COMMANDS
        if not reason(command) and command.block.page not in pages
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOME).as_posix())
def test_a_page_without_commands_says_why_it_is_read(page: Path) -> None:
    if any(block.commands() for block in blocks(page)) or page in ABOUT_THEMSELVES:
        return
    first = " ".join(page.read_text().splitlines()[1:8])
    assert re.search(
        r"Read th(is|ese) (first )?(if|when|to|before)|This page says|you want to", first
    )


def test_every_row_and_every_session_is_about_something() -> None:
    unused = [row.pattern for row in ROWS if not any(map(row.matches, COMMANDS))]
    idle = [
        each.page
        for each in SESSIONS
        if not each.commands(quick=False) and not each.commands(quick=True)
    ]
    assert unused + idle == []
    counts = Counter(session.page for session in SESSIONS)
    assert [page for page, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.block.place)
def test_what_a_command_names_exists(command: Command) -> None:
    calls = command.calls()
    assert calls
    for words in calls:
        check(words)
        if "call" in words[:2] and "…" not in command.text:
            assert required_flags(words) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOME).as_posix())
def test_what_a_command_in_a_sentence_names_exists(page: Path) -> None:
    if page.name in OF_THE_PAST:
        return
    for text in inline_code(page):
        if re.match(PROGRAMS, text) and text not in USAGES:
            for words in simple_commands(text):
                assert check(words), text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOME).as_posix())
def test_a_flag_that_stands_alone_or_after_a_function_exists(page: Path) -> None:
    if page.name in OF_THE_PAST:
        return
    for text in inline_code(page):
        words = text.split()
        flags = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        if words and words[0] in functions():
            assert flags <= functions()[words[0]][0], text
        elif flags and text.startswith("--"):
            assert flags <= known_flags() | OF_OTHERS, text


@pytest.mark.parametrize(
    "block", [each for each in ALL if each.language == "toml"], ids=lambda block: block.place
)
def test_the_keys_of_a_file_are_those_that_are_read(block: Block, tmp_path: Path) -> None:
    document = tomllib.loads(block.text)
    file = tmp_path / "config.toml"
    file.write_text(block.text)
    if document.keys() <= SETTINGS:
        (tmp_path / "layerline").mkdir()
        file.rename(tmp_path / "layerline/config.toml")
        Settings.from_environ({"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)})
    elif "policy" in block.text:
        for name in (*document["keys"], *document["rebuilt_by"]):
            new_key(tmp_path, Path(name).stem)
        with serving_sigstore() as services:
            (tmp_path / document["trusted_root"]).write_text(json.dumps(services.trusted_root()))
        # Its roots of trust are for a package that need not be installed.
        missing = "identities" in document and importlib.util.find_spec("sigstore") is None
        with pytest.raises(HostError, match="sigstore") if missing else contextlib.nullcontext():
            read_policy(file)
    else:
        parse_definition(completed(block.text, document))


def completed(text: str, document: dict[str, object]) -> str:
    """A definition with what a block leaves out of it."""
    rest = "".join(more for table, more in REST.items() if table not in document)
    header = re.search(r"^\[images\.\w+\]$", text, re.MULTILINE)
    if header and "target" not in text:
        text = text.replace(header[0], f'{header[0]}\ntarget = "cpu"\ngroups = ["core"]')
    return text + rest


@pytest.mark.parametrize(
    "block",
    [each for each in ALL if each.language in ("json", "python")],
    ids=lambda block: block.place,
)
def test_documents_and_programs_can_be_read(block: Block) -> None:
    if block.language == "json":
        lines = block.text.splitlines() if block.text.startswith('{"') else [block.text]
        assert all(isinstance(json.loads(line), dict) for line in lines)
        return
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    tree = compile(block.text, block.place, "exec", flags)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert importlib.util.find_spec(str(node.module)), block.place


@pytest.mark.parametrize(
    "block", [each for each in ALL if each.language == "text"], ids=lambda block: block.place
)
def test_the_words_of_an_output_are_in_the_program(block: Block) -> None:
    [(path, phrases)] = [value for begin, value in OUTPUTS.items() if block.text.startswith(begin)]
    # A sentence of the program is in several literals, one of the page in several lines.
    source = re.sub(r'"\s+f?"', "", (HOME / path).read_text())
    shown = re.sub(r"\s+", " ", block.text)
    assert [each for each in phrases if each not in source or each not in shown] == []
