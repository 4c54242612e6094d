"""Instructions become values, and mistakes are reported with BuildKit's words and the line."""

from __future__ import annotations

import pytest

from layerline.engine.dockerfile import instructions as i
from layerline.engine.dockerfile.parser import parse, parse_trigger
from layerline.engine.image.config import Healthcheck
from layerline.errors import QueryError


def one(text: str) -> i.Instruction:
    (instruction,) = parse(f"FROM scratch\n{text}\n").stages[0].instructions
    return instruction


def test_stages_and_the_arguments_before_them() -> None:
    dockerfile = parse("ARG A=1 B\nFROM --platform=linux/arm64 x AS One\nUSER u\nFROM one\n")
    assert dockerfile.arguments == (i.Arg(pairs=(("A", "1"), ("B", None))),)
    assert dockerfile.stages == (
        i.Stage(base="x", name="one", platform="linux/arm64", instructions=(i.User(name="u"),)),
        i.Stage(base="one"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ENV A=1 B="x y" C=a\\ b', (("A", "1"), ("B", '"x y"'), ("C", "a\\ b"))),
        ("ENV A  several words", (("A", "several words"),)),
    ],
)
def test_env(text: str, expected: tuple[tuple[str, str], ...]) -> None:
    assert one(text) == i.Env(pairs=expected)


def test_commands_have_a_shell_form_and_an_exec_form() -> None:
    assert one("CMD echo  a") == i.Cmd(command=i.Command(words=("echo  a",), shell=True))
    assert one('CMD ["a", "b"]') == i.Cmd(command=i.Command(words=("a", "b"), shell=False))
    assert one('ENTRYPOINT ["a",') == i.Entrypoint(command=i.Command(words=('["a",',), shell=True))


def test_run_keeps_its_mounts_as_they_are_written() -> None:
    run = one("RUN --mount=type=cache,target=/c --mount=target=/d --network=none x")
    assert isinstance(run, i.Run)
    assert run.mounts == ("type=cache,target=/c", "target=/d")
    assert run.network == "none"


def test_copy() -> None:
    copy = one("COPY --from=s --chown=1:2 --chmod=640 --parents --exclude=a --exclude=b x y /z/")
    assert copy == i.Copy(
        sources=("x", "y"),
        destination="/z/",
        stage="s",
        owner="1:2",
        mode="640",
        exclude=("a", "b"),
        parents=True,
    )


def test_copy_of_names_with_spaces() -> None:
    copy = one('COPY ["a b", "/c d/"]')
    assert copy == i.Copy(sources=("a b",), destination="/c d/")


def test_copy_of_an_inline_document_beside_a_file() -> None:
    copy = one("COPY a <<E /z/\ntext\nE")
    assert isinstance(copy, i.Copy)
    assert copy.sources == ("a",)
    assert [document.text for document in copy.heredocs] == ["text\n"]


def test_healthchecks() -> None:
    check = one("HEALTHCHECK --interval=5s --retries=3 CMD curl x || exit 1")
    assert check == i.HealthcheckInstruction(
        check=Healthcheck(test=("CMD-SHELL", "curl x || exit 1"), interval=5_000_000_000, retries=3)
    )
    none = one("HEALTHCHECK NONE")
    assert none == i.HealthcheckInstruction(check=Healthcheck(test=("NONE",)))


def test_a_trigger_is_kept_as_text_and_read_later() -> None:
    assert one("ONBUILD COPY --from=x a b") == i.Onbuild(trigger="COPY --from=x a b")
    assert parse_trigger("USER u") == i.User(name="u")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("NOPE x", "dockerfile parse error on line 2: unknown instruction: NOPE"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS 1x", 'invalid name for build stage: "1x"'),
        ("COPY a", "COPY requires at least two arguments, but only one was provided"),
        ("COPY --wat=1 a b", "unknown flag: --wat"),
        ("COPY --chown a b", "missing a value on flag: --chown"),
        ("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", "can't find = in 'B'"),
        ("ENV =1", "ENV names can not be blank"),
        ("ARG =1", "ARG names can not be blank"),
        ("SHELL foo", "SHELL requires the arguments to be in JSON form"),
        ('CMD ["a", 1]', "arrays must be comprised of strings only"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK foo", 'Unknown type "FOO" in HEALTHCHECK'),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=1us CMD x", "cannot be less than 1ms"),
        ("HEALTHCHECK --retries=-1 CMD x", "--retries cannot be negative"),
        ("RUN --device=x y", "RUN --device is not supported"),
    ],
)
def test_mistakes_are_told(text: str, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(f"FROM scratch\n{text}\n")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the Dockerfile cannot be empty"),
        ("# only this\n", "file with no instructions"),
        ("RUN x\n", "no build stage in current context"),
        ("ARG A\n", "dockerfile contains no stages to build"),
    ],
)
def test_a_file_without_stages_is_refused(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse(text)
