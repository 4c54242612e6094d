"""Secrets: providers, variables of the same name, what is hidden and what is not."""

from __future__ import annotations

import pytest

from tests.parity.conftest import Case, ParitySession, box, sh

pytestmark = pytest.mark.privileged

URIS = "the protocol's section 5.7"
SECRET = '{ secret(uri: "env://PARITY_SECRET") { id } }'

CASES = [
    Case(
        pins="an address without a scheme",
        why=URIS,
        query='{ secret(uri: "plain") { id } }',
        error='parse "plain": malformed id',
    ),
    Case(
        pins="an unknown scheme",
        why=URIS,
        query='{ secret(uri: "foo://x") { id } }',
        error='unsupported secret provider: "foo"',
    ),
    Case(
        pins="a missing variable is reported by three letters of its name",
        why=URIS,
        query='{ secret(uri: "env://PARITY_NOT_THERE") { plaintext } }',
        error=r'secret env var not found: "PAR\.\.\."',
    ),
    Case(
        pins="a secret variable beats a plain one of the name",
        why=URIS,
        given=SECRET,
        query=box(
            'withSecretVariable(name: "S", secret: "$given") { withEnvVariable(name: "S", '
            f'value: "plain") {{ envVariable(name: "S") {sh("printf %s $S | wc -c")} }} }}'
        ),
        answer={"envVariable": "plain", "withExec": {"stdout": "8\n"}},
    ),
    Case(
        pins="withoutEnvVariable leaves a secret variable",
        why="core/schema/container.go: they are apart",
        given=SECRET,
        query=box(
            'withSecretVariable(name: "S", secret: "$given") { withoutEnvVariable(name: "S") '
            f"{{ {sh('echo [$S]')} }} }}"
        ),
        answer="[***]\n",
    ),
    Case(
        pins="an error's outputs and redirected files are scrubbed, other files are not",
        why=URIS,
        given=SECRET,
        query=box(
            'withMountedSecret(path: "/s", source: "$given") { '
            + sh(
                "cat /s; cat /s >&2; cat /s > /leak; exit 2",
                ', redirectStdout: "/o", expect: ANY',
                then='stdout stderr o: file(path: "/o") { contents } '
                'leak: file(path: "/leak") { contents }',
            )
            + " }"
        ),
        answer={
            "stdout": "***",
            "stderr": "***",
            "o": {"contents": "***"},
            "leak": {"contents": "hunter22"},
        },
    ),
    Case(
        pins="a secret mounted with an unknown owner",
        why="core/container.go, ownership",
        given=SECRET,
        query=box(
            'withMountedSecret(path: "/s", source: "$given", owner: "zz") { ' + sh("true") + " }"
        ),
        error="zz",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(session: ParitySession, case: Case) -> None:
    session.check(case)
