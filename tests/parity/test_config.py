"""Configuration and execs: expansion, working directories, health checks, platforms, users."""

from __future__ import annotations

import pytest

from tests.parity.conftest import Case, ParitySession, box, sh

pytestmark = pytest.mark.privileged

EXPANDS = "Go's os.Expand, which the protocol's section 5.1 names"
CHECKS = "core/schema/container.go, withHealthcheck"


def expanding(word: str) -> str:
    """A query: what a word of a command becomes."""
    return box(
        'withEnvVariable(name: "A", value: "1") '
        f'{{ withExec(args: ["printf", "[%s]", "{word}"], expand: true) {{ stdout }} }}'
    )


CASES = [
    Case(
        pins="a brace that is not closed is eaten",
        why=EXPANDS,
        query=expanding("${A"),
        answer="[A]",
    ),
    Case(pins="empty braces are eaten", why=EXPANDS, query=expanding("x${}y"), answer="[xy]"),
    Case(
        pins="a dollar before no name stays",
        why=EXPANDS,
        query=expanding("$% $(A) $"),
        answer="[$% $(A) $]",
    ),
    Case(
        pins="a default value is not supported",
        why=EXPANDS,
        query=expanding("${A:-d}"),
        answer="[]",
    ),
    Case(pins="special names are empty", why=EXPANDS, query=expanding("$$$1$*x"), answer="[x]"),
    Case(
        pins="an absolute workdir is kept as written",
        why="core/schema/container.go, absPath; the protocol's section 5.3: verbatim",
        query=box(
            'withWorkdir(path: "/a//b/") { workdir withWorkdir(path: "c/../d/") '
            f"{{ workdir {sh('pwd')} }} }}"
        ),
        answer={
            "workdir": "/a//b/",
            "withWorkdir": {"workdir": "/a/b/d", "withExec": {"stdout": "/a/b/d\n"}},
        },
    ),
    Case(
        pins="withoutEntrypoint clears the default args",
        why="the protocol's section 5.3",
        query=box(
            'withEntrypoint(args: ["e"]) { withDefaultArgs(args: ["d"]) { '
            "cleared: withoutEntrypoint { defaultArgs } "
            "kept: withoutEntrypoint(keepDefaultArgs: true) { defaultArgs } } }"
        ),
        answer={"cleared": {"defaultArgs": []}, "kept": {"defaultArgs": ["d"]}},
    ),
    Case(
        pins="a health check needs a command",
        why=CHECKS,
        query=box("withDockerHealthcheck(args: []) { id }"),
        error="WithHealthcheck args is missing",
    ),
    Case(
        pins="a health check of the shell is one text",
        why=CHECKS,
        query=box('withDockerHealthcheck(args: ["a", "b"], shell: true) { id }'),
        error="must be a single element when shell mode is set",
    ),
    Case(
        pins="a platform may leave out the operating system",
        why="containerd's platforms.Parse, which reads it",
        query='{ container(platform: "aarch64") { platform } }',
        answer="linux/arm64",
    ),
    Case(
        pins="a number as user has its passwd group and home",
        why="internal/buildkit/executor/oci/user.go",
        query=box(f'withUser(name: "1") {{ {sh("id -u; id -g; echo $HOME")} }}'),
        answer="1\n1\n/usr/sbin\n",
    ),
    Case(
        pins="a proxy that is set in one case is set in both",
        why="engineutil/executor_spec.go, setProxyEnvs",
        query=box(
            'withEnvVariable(name: "HTTP_PROXY", value: "a") '
            '{ withEnvVariable(name: "no_proxy", value: "b") '
            + f"{{ {sh('echo $HTTP_PROXY $http_proxy $NO_PROXY $no_proxy')} }} }}"
        ),
        answer="a a b b\n",
    ),
    Case(
        pins="the own name leads to the container itself",
        why="internal/buildkit/executor/oci/hosts.go",
        query=box(sh("head -2 /etc/hosts")),
        answer="127.0.0.1\tlocalhost dagger\n::1\tlocalhost ip6-localhost ip6-loopback\n",
    ),
    Case(
        pins="redirects are relative to the workdir and belong to the user",
        why="the protocol's section 5.1",
        query=box(
            'withWorkdir(path: "/tmp") { withUser(name: "daemon") { '
            'withExec(args: ["id", "-u"], redirectStdout: "o") { withUser(name: "root") { '
            + sh("stat -c '%a %U' /tmp/o; cat /tmp/o")
            + " } } } }"
        ),
        answer="600 daemon\n1\n",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(session: ParitySession, case: Case) -> None:
    session.check(case)
