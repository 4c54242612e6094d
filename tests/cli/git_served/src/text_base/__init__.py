"""Words, and what is done to them."""

import enum

import dagger
from dagger import dag, field, function, object_type


@dagger.enum_type
class Case(enum.Enum):
    """How a word is written."""

    UPPER = "upper"
    """All capitals."""
    LOWER = "lower"
    """No capitals."""


@object_type
class Word:
    """One word."""

    text: str = field()
    count: int = field(default=1)

    @function
    def doubled(self) -> "Word":
        """The word twice."""
        return Word(text=self.text * 2, count=self.count * 2)

    @function
    def cased(self, case: Case) -> str:
        """The word as capitals or not."""
        return self.text.upper() if case is Case.UPPER else self.text.lower()


@object_type
class TextBase:
    """Makes words."""

    prefix: str = field(default="")

    @function
    def word(self, text: str = "nothing") -> Word:
        """One word."""
        return Word(text=self.prefix + text)

    @function
    def words(self, texts: list[str]) -> list[Word]:
        """A word of each text."""
        return [Word(text=self.prefix + t) for t in texts]

    @function
    def case_of(self, text: str) -> Case:
        """How a text is written."""
        return Case.UPPER if text.isupper() else Case.LOWER

    @function
    async def file(self, name: str = "a.txt", contents: str = "of base\n") -> dagger.File:
        """A new file."""
        return dag.directory().with_new_file(name, contents).file(name)

    @function
    async def lines(self, source: dagger.File) -> int:
        """How many lines a file has."""
        return len((await source.contents()).splitlines())

    @function
    def fail(self, code: int = 3) -> dagger.Container:
        """A container that fails."""
        return (
            dag.container()
            .from_("debian:bookworm-slim")
            .with_exec(["sh", "-c", f"echo sad; exit {code}"])
        )

    @function
    def broken(self) -> str:
        """Raises."""
        msg = "base is broken"
        raise ValueError(msg)

    @function
    async def secret_length(self, token: dagger.Secret) -> int:
        """The length of a secret."""
        return len(await token.plaintext())
