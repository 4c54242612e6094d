"""The language of scripts, compared with what bash does as a POSIX shell with the same options."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import anyio
import pytest

from layerline import command
from layerline.cli.shell.builtin_utilities import run_utility
from layerline.cli.shell.grammar import ShellSyntaxError
from layerline.cli.shell.interpreter import Interpreter
from layerline.cli.shell.parser import parse_script
from layerline.cli.shell.scope import Capture, Scope, Status, Streams

if TYPE_CHECKING:
    from pathlib import Path

BASH = shutil.which("bash")
ENVIRON = {"HOME": "/root", "PATH": "/usr/bin:/bin"}
SCRIPTS = [
    "echo a  b 'c  d' \"e $((1+2*3))\"",
    "x=5; echo $x ${x}y \"$x\" '$x'",
    "x='a b'; for i in $x \"$x\"; do echo [$i]; done",
    "f() { echo $# $1; return 3; }; f a b || echo $?",
    "if false; then echo 1; elif true; then echo 2; else echo 3; fi",
    "false || echo x && echo y",
    "i=0; while [ $i -lt 3 ]; do i=$((i+1)); if [ $i = 2 ]; then continue; fi; echo $i; done",
    "case abc in (x|a*) echo yes;; *) echo no;; esac",
    "echo ${x:-def} ${x=y} $x ${x:+z} ${x-a b}",
    "x=path/to/file.tar.gz; echo ${x##*/} ${x#*/} ${x%.*} ${x%%.*} ${#x}",
    'echo $(echo a; echo b) `echo c` $(echo $(echo "d  e"))',
    "(exit 3); echo no",
    "! false && echo ok",
    'set -- a \'b c\' d; echo $# "$@"; for i in "$@"; do echo [$i]; done; shift; echo $1',
    "x=1; (x=2; echo $x); echo $x",
    "echo a | cat | cat; { echo b; echo c; } | cat",
    'cat <<E\nhi $((1+1)) "quoted" \\$x\n`echo x`\nE\n',
    "cat <<'E'\n$x\nE\necho after",
    "cat <<-E\n\ttab\n\tE\n",
    "set +e; false; echo $?",
    "false; echo no",
    "x=$(false); echo no",
    "x=$(echo a; false) || echo failed $x",
    "echo $(false; echo goes on)",
    "IFS=:; x=a:b::c; for i in $x; do echo [$i]; done",
    "printf '%s-%d\\n' a 1 b 2; printf '%5.2f|%x\\n' 3.14159 255",
    "echo \"a\\$b \\\\ \\\"\" 'it'\"'\"'s' a\\ b",
    "eval 'echo $((2+2))'",
    "for i in 1 2 3; do for j in a b; do [ $i = 2 ] && break 2; echo $i$j; done; done",
    "echo $undefined; echo no",
    "true && false || echo c",
    "x=3; echo $((x*2)) $((x==3?10:20)) $((x+=1)) $x $((-7/2)) $((-7%3)) $((1<<4|1))",
    'until [ "${n:-}" = xx ]; do n=${n:-}x; echo $n; done',
    "f() { g; }; g() { echo g; }; f",
    "x= ; echo [$x]; unset x; echo ${x-unset}",
    "echo ~ ~/a a~ '~'",
    "a=1 b=2; echo $a$b",
    "f() { echo \"$*\"; }; f 1 '2 3'",
    "echo a >/dev/null; echo b 1>&2; echo c",
    "false | echo z; echo no",
    "set +e; false | echo z; echo $?; set +o pipefail; false | echo z; echo $?",
    "exit 4",
    "if [ a = a -a b = b ]; then echo both; fi; test ! -d /nowhere && echo none",
    "x=a; case $x in \"a\") echo 1;; esac; case '*' in \\*) echo 2;; esac",
    "echo x${y:+z}w; # a comment\necho b#c",
    "x=$(printf 'a\\n\\n'); echo \"$x\".",
    "read a b <<E\n1 2 3\nE\necho $b",
]


async def _run(text: str, workdir: Path) -> tuple[str, int]:
    printed = Capture()
    async with anyio.create_task_group() as group:

        async def execute(argv: list[str], scope: Scope, streams: Streams) -> Status:
            if argv[0] == "cat":
                assert streams.stdin is not None
                await streams.stdout.write(streams.stdin.read())
                return Status()
            return await run_utility(interpreter, argv, scope, streams)

        async def resolve(text: str) -> str:
            return text

        interpreter = Interpreter(workdir=workdir, execute=execute, resolve=resolve, group=group)
        streams = Streams(None, printed, Capture())
        status = await interpreter.run(parse_script(text), Scope.of(ENVIRON), streams)
    return printed.text, status.code


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_script_does_what_bash_does(script: str, tmp_path: Path) -> None:
    argv = [str(BASH), "--posix", "-euo", "pipefail", "-c", script]
    done = command.run(argv, env=ENVIRON, cwd=tmp_path, expect=None)
    assert await _run(script, tmp_path) == (done.stdout.decode(), done.status)


async def test_files_are_read_and_written(tmp_path: Path) -> None:
    script = "echo a > one; echo b >> one; cat < one; for f in o* n*; do echo $f; done"
    assert await _run(script, tmp_path) == ("a\nb\none\nn*\n", 0)


async def test_jobs_run_beside_the_script(tmp_path: Path) -> None:
    script = "(exit 5) & job=$!; echo $job; true & wait; wait $job || echo $?"
    assert await _run(script, tmp_path) == ("g1\n5\n", 0)


# The texts are those of https://github.com/mvdan/sh/blob/v3.11.0/syntax/parser.go.
@pytest.mark.parametrize(
    ("script", "message", "incomplete"),
    [
        ("a |", "1:3: | must be followed by a statement", True),
        ("a 'b", "1:3: reached EOF without closing quote '", True),
        ('a\n"b', '2:1: reached EOF without closing quote "', True),
        ("( a", "1:1: reached EOF without matching ( with )", True),
        ("a $(b", "1:4: reached EOF without matching ( with )", True),
        ("{ a;", "1:1: reached EOF without matching { with }", True),
        ("if a", '1:1: if <cond> must be followed by "then"', True),
        ("while a; do b", '1:1: while statement must end with "done"', True),
        ("a && && b", "1:3: && must be followed by a statement", False),
        ("done", '1:1: "done" can only be used to end a loop', False),
        ("a; )", "1:4: ) can only be used to close a subshell", False),
        ("; a", "1:1: ; can only immediately follow a statement", False),
        ("my-f() { a; }", "1:1: invalid func name", False),
        ("! ", '1:1: "!" cannot form a statement alone', False),
        ("a ${x!}", "1:6: not a valid parameter expansion operator: !", False),
    ],
)
def test_what_cannot_be_parsed(script: str, message: str, incomplete: bool) -> None:  # noqa: FBT001
    with pytest.raises(ShellSyntaxError) as caught:
        parse_script(script)
    assert (str(caught.value), caught.value.incomplete) == (message, incomplete)


def test_an_error_begins_with_the_name_of_the_file() -> None:
    with pytest.raises(ShellSyntaxError, match=r"^build\.dsh:1:1: "):
        parse_script("fi", "build.dsh")
