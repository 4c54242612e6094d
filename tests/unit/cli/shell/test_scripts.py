"""Scripts of the core API, with what Dagger's own tests expect of them.

Most are from https://github.com/dagger/dagger/blob/v0.21.8/core/integration/shell_test.go, those
that need no image.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from layerline.cli.console import Console
from layerline.cli.options import Options
from layerline.cli.shell.completion import completions
from layerline.cli.shell.running import Shell, Source
from layerline.cli.shell.scope import Printed
from layerline.engine import task_group

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.unit.conftest import OpenSession

pytestmark = pytest.mark.privileged

FOO = "FOO=$(directory | with-new-file foo echo | file foo)\n"
BAR = "BAR=$(directory | with-new-file bar directory | file bar)\n"
WITH_FILE = 'function "with-file": requires 2 positional argument(s), received 0'
WITH_FILE_USAGE = "usage: with-file <path> <source> [--permissions int] [--owner string]"


class Answers:
    """A shell, and what its scripts print and fail with."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    async def ask(self, script: str) -> tuple[str, int, str]:
        """What is printed, the status, and the message of the error."""
        printed: list[str] = []
        resolve = self.shell.interpreter.resolve
        self.shell.streams = replace(self.shell.streams, stdout=Printed(resolve, printed.append))
        status = await self.shell.run(Source(script))
        return "".join(printed), status.code, str(status.error or "")


@contextlib.asynccontextmanager
async def shell_in(
    open_a_session: OpenSession, workdir: Path, *options: str
) -> AsyncIterator[Answers]:
    async with open_a_session() as session, task_group() as group:
        console = Console(
            program="layerline",
            argv=[],
            options=Options.scan([f"--workdir={workdir}", "-s", *options]),
            settings=session.settings,
        )
        yield Answers(await Shell.open(console, session, group))
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("directory | with-new-file a.txt abc | entries", "a.txt\n"),
        (
            "directory | with-new-file --path=/x --contents='h w' | file --path=/x | contents",
            "h w",
        ),
        ("directory | with-new-file /test --contents='h w' | file /test | contents", "h w"),
        ("dir=$(directory | with-new-file foo bar)\n$dir | name\n$dir | entries\n", "/foo\n"),
        (
            "dir=$(directory | with-new-file /src/foo/bar foobar | directory src)\n"
            "name=$($dir | name)\n.printenv name\n$dir | directory foo | name\n.printenv name\n",
            "src/\nfoo/src/\n",
        ),
        (f"{FOO}{BAR}$($FOO | name)", "foo"),
        (f"{FOO}.$($FOO | contents) hello", "hello\n"),
        (f"{FOO}directory | with-new-file test $($FOO | name) | file test | contents", "foo"),
        (
            f"{FOO}{BAR}directory | with-new-file ./$($FOO | name)_$($BAR | name).txt x | entries",
            "foo_bar.txt\n",
        ),
        (f"{FOO}{BAR}.ls ./$($FOO | name)/$($BAR | name)", "foobar.txt\n"),
        ("container | with-exposed-port 80 | exposed-ports | port", "80\n"),
        ("container | withExposedPort 80 --protocol udp | exposed-ports | protocol", "UDP\n"),
        ("directory | with-directory / foo | entries", "bar/\n"),
        ("directory | with-directory /x $(directory) | entries", "x/\n"),
        ("directory | with-directory / $(host | directory foo) --include=b*,c | entries", "bar/\n"),
        ("container | with-env-variable A b | env-variable A", "b"),
        ("container | with-default-args -- a --b 'c d' | default-args", "a\n--b\nc d\n"),
        ("container | with-default-args a,b | default-args", "a\nb\n"),
        ("load-directory-from-id $(directory | with-new-file a b | id) | entries", "a\n"),
        ("directory | with-new-file a 1 | file a | contents; .echo; version", "1\nv0.21.8"),
        ("directory | with-new-file t foo | file t | contents &\n.wait", "foo"),
        (
            "_set +e; directory | with-new-file | entries; .echo ok; .exit; .echo exited",
            "ok\n",
        ),
        ("f() { with-new-file $1 x; }; directory | f a | f b | entries", "a\nb\n"),
        ("if directory | file nope | contents; then .echo yes; else .echo no; fi", "no\n"),
        (
            "directory | with-new-file a bc | file a | contents > out; _read x < out; .echo $x",
            "bc\n",
        ),
        ("address foo | directory | entries", "bar/\n"),
        (".cd foo; .pwd; .ls; .cd -; .pwd; .cd foo/bar; .cd; .pwd", None),
    ],
)
async def test_a_script(
    open_a_session: OpenSession, tmp_path: Path, script: str, printed: str | None
) -> None:
    (tmp_path / "foo" / "bar").mkdir(parents=True)
    (tmp_path / "foo" / "bar" / "foobar.txt").write_text("foobar")
    if printed is None:
        printed = f"{tmp_path}/foo\nbar/\n{tmp_path}\n{tmp_path}\n"
    async with shell_in(open_a_session, tmp_path, "-M") as answers:
        assert await answers.ask(script) == (printed, 0, "")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("directory | with-file", f"{WITH_FILE}\n{WITH_FILE_USAGE}"),
        ("directory | with-file | entries", f"{WITH_FILE}\n{WITH_FILE_USAGE}"),
        ("directory | with-file | with-directory | entries", f"{WITH_FILE}\n{WITH_FILE_USAGE}"),
        ("DIR=$(directory | with-file); $DIR", f"{WITH_FILE}\n{WITH_FILE_USAGE}"),
        (
            "directory | with-directory foo $(directory | with-file) | entries",
            'function "with-directory": cannot expand function argument "source": '
            f"{WITH_FILE}\n{WITH_FILE_USAGE}",
        ),
        (
            "container | with-exec echo --args=hello | stdout",
            'function "with-exec": requires 0 positional argument(s), received 1\n'
            "usage: with-exec <args> [--use-entrypoint] [--stdin string] [--redirect-stdin string] "
            "[--redirect-stdout string] [--redirect-stderr string] [--expect ReturnType] "
            "[--experimental-privileged-nesting] [--insecure-root-capabilities] [--expand] "
            "[--no-init]",
        ),
        ("i-dont-exist", 'find module "i-dont-exist": local path "i-dont-exist" does not exist'),
        ("_container", 'find module "_container": local path "_container" does not exist'),
        ("foo", 'function or module "foo" not found'),
        ("__dag", 'command "__dag" is reserved for internal use'),
        ("container | nope", 'no function "nope" in type "Container"'),
        ("container | .nope", 'command not found: ".nope"'),
        (".echo a | container", 'unexpected input for command "container"'),
        (".printenv NOT_THERE", 'environment variable "NOT_THERE" not set'),
        ("container | .pwd", 'command ".pwd" cannot be piped\n\nUsage: .pwd'),
        (".ls a b", 'command ".ls" accepts at most 1 argument(s), received 2\n\nUsage: .ls [path]'),
        (".cd ..", 'find module "..": can\'t escape context root: {root}'),
        ("../x | y", 'find module "../x": can\'t escape context root: {root}'),
        (".ls ..", "can't escape context root: {root}"),
        (".cd foo/nope", 'find module "foo/nope": local path "foo/nope" does not exist'),
        ("x=$(.echo nothing-here); .help $x", 'find module "nothing-here": local path'),
        (
            "container | with-exposed-port eighty",
            'function "with-exposed-port": invalid argument "eighty" for "--port" flag: '
            'strconv.ParseInt: parsing "eighty": invalid syntax',
        ),
        ("container --help", 'function "container": unknown flag: "--help"\nusage: container'),
        (".model x", ".model (language models) is not supported by the embedded engine"),
    ],
)
async def test_a_script_that_fails(
    open_a_session: OpenSession, tmp_path: Path, script: str, message: str
) -> None:
    (tmp_path / "foo").mkdir()
    async with shell_in(open_a_session, tmp_path, "-M") as answers:
        _, code, told = await answers.ask(script)
    assert code == 1
    assert told.startswith(message.format(root=tmp_path))


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("directory | with-new-file foo foo | entries; .exit 5; .echo ok", 5),
        ("_exit $(directory | with-new-file c 5 | file c | contents)", 5),
        ("_set +e; directory | with-new-file | entries; .exit; .echo ok", 1),
        (".echo $not_set", 1),
        ("(_exit 7) & job=$!; .wait $job", 7),
        ("directory | with-new-file | entries & .wait", 0),
    ],
)
async def test_the_status_of_a_script(
    open_a_session: OpenSession, tmp_path: Path, script: str, code: int
) -> None:
    async with shell_in(open_a_session, tmp_path, "-M") as answers:
        printed, found, _ = await answers.ask(script)
    assert (found, "ok" in printed) == (code, False)


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        (".help", ["container", ".help", 'Use ".help <command> | <function>" for more']),
        (".help .ls", ["List files in the current working directory", "  .ls [path]"]),
        (".help Container", ["OBJECT\n  Container", "AVAILABLE FUNCTIONS", "  with-exec"]),
        ("container | .help", ["OBJECT\n  Container", "  with-exec"]),
        (
            "container | .help with-exec",
            ["  with-exec <args> [options]", "  args []string", "RETURNS\n  Container"],
        ),
        (".help http", ["  http <url> [options]", "RETURNS\n  File"]),
        (".help NetworkProtocol", ["ENUM\n  NetworkProtocol", "  UDP"]),
        (".types", ["CORE TYPES", "  Directory"]),
    ],
)
async def test_documentation(
    open_a_session: OpenSession, tmp_path: Path, script: str, lines: list[str]
) -> None:
    async with shell_in(open_a_session, tmp_path, "-M") as answers:
        printed, code, message = await answers.ask(script)
    assert (code, message) == (0, "")
    assert [line for line in lines if line not in printed] == []


async def test_paths_are_those_of_the_repository(
    open_a_session: OpenSession, tmp_path: Path
) -> None:
    """As TestDirectoryFlag has it."""
    for path in (".git/", "sub/a/foo", "sub/b/bar", "ab/foobar"):
        place = tmp_path / "work" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir() if path.endswith("/") else place.touch()
    script = "directory | with-directory / {path} | entries"
    async with shell_in(open_a_session, tmp_path / "work" / "sub" / "a") as answers:
        for path, printed in ((".", "foo\n"), ("../b", "bar\n"), ("/ab", "foobar\n")):
            assert await answers.ask(script.format(path=path)) == (printed, 0, "")
        assert (await answers.ask(".pwd"))[0] == f"{tmp_path / 'work' / 'sub' / 'a'}\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("contai", ["container"]),
        (".pw", [".pwd"]),
        ("container | with-reg", ["with-registry-auth"]),
        ("container | from alpine | with-exec --redirect-stdo", ["--redirect-stdout"]),
        ("x=$(git https://example.com/x | hea", ["head"]),
        ('.echo "$(container | platfo', ["platform"]),
        ("directory | .he", [".help"]),
        ("container | from ", []),
        ("nothing-known | ", []),
        ("for i in 1; do direct", ["directory"]),
    ],
)
async def test_completion(
    open_a_session: OpenSession, tmp_path: Path, line: str, words: list[str]
) -> None:
    async with shell_in(open_a_session, tmp_path, "-M") as answers:
        assert completions(answers.shell.handler, line) == words
