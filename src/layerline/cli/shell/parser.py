"""Scripts parsed into their syntax tree.

The error texts are those of https://github.com/mvdan/sh, with which Dagger parses scripts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from layerline.cli.shell.cursor import Cursor
from layerline.cli.shell.grammar import (
    AndOr,
    Case,
    For,
    FunctionDefinition,
    Group,
    If,
    Loop,
    Pipeline,
    Script,
    Statement,
)
from layerline.cli.shell.simple_commands import SimpleReader
from layerline.cli.shell.words import NAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.cli.shell.grammar import Command, Redirect, Word

_BRACKETS = re.compile(r"[ \t]*\([ \t]*\)")
_MISPLACED = {
    "}": "can only be used to close a block",
    "then": "can only be used in an if",
    "elif": "can only be used in an if",
    "else": "can only be used in an if",
    "fi": "can only be used to end an if",
    "do": "can only be used in a loop",
    "done": "can only be used to end a loop",
    "esac": "can only be used to end a case",
}


def parse_script(text: str, name: str = "") -> Script:
    """Parse a script; a ShellSyntaxError begins with `name`, line and column."""
    return Parser(Cursor(text, name)).file()


def _parse_nested(cursor: Cursor) -> Script:
    """Parse the script of a substitution, up to an unmatched bracket or the end."""
    return Parser(cursor).script()


class Parser(SimpleReader):
    """A recursive descent over one cursor."""

    def __init__(self, cursor: Cursor) -> None:
        super().__init__(cursor, _parse_nested)

    def file(self) -> Script:
        """All of the text."""
        script = self.script()
        if self.cursor.char:
            self._stray()
        return script

    def script(self, *ends: str) -> Script:
        """Statements up to a reserved word of `ends`, an unmatched bracket, or the end."""
        statements: list[Statement] = []
        while True:
            self._newlines()
            if not self.cursor.char or self.cursor.at(")") or self.cursor.at(";;"):
                break
            if self._reserved() in ends:
                break
            found = self._statement()
            if found is None:
                self._stray()
            statements.append(found)
        return Script(tuple(statements))

    def _stray(self) -> NoReturn:
        operator = self.cursor.operator()
        if operator == ")":
            self.cursor.fail(") can only be used to close a subshell")
        if operator == ";;":
            self.cursor.fail(";; can only be used in a case clause")
        self.cursor.fail(f"{operator} can only immediately follow a statement")

    def _expect(self, word: str, after: str, begin: int) -> None:
        self._newlines()
        if not self._take_reserved(word):
            ended = not self.cursor.char
            self.cursor.fail(f'{after} must be followed by "{word}"', begin, incomplete=ended)

    def _end(self, word: str, kind: str, begin: int) -> None:
        self._newlines()
        if not self._take_reserved(word):
            ended = not self.cursor.char
            self.cursor.fail(f'{kind} statement must end with "{word}"', begin, incomplete=ended)

    def _body(self, after: str, begin: int, *ends: str) -> Script:
        script = self.script(*ends)
        if not script.statements:
            ended = not self.cursor.char
            message = f'"{after}" must be followed by a statement list'
            self.cursor.fail(message, begin, incomplete=ended)
        return script

    def _statement(self) -> Statement | None:
        begin = self.cursor.place
        found = self._pipeline()
        while found is not None:
            self.cursor.blanks()
            operator = self.cursor.operator()
            if operator not in ("&&", "||"):
                break
            place = self.cursor.place
            self.cursor.take(operator)
            right = self._after_operator(operator, place, self._pipeline)
            found = Statement(AndOr(found, operator, right), begin=begin, end=self.cursor.place)
        if found is None:
            return None
        if self.cursor.operator() == "&":
            self.cursor.take("&")
            return Statement(
                found.command, found.redirects, found.negated, True, begin, self.cursor.place
            )
        if self.cursor.operator() == ";":
            self.cursor.take(";")
        elif self.cursor.char and self.cursor.operator() not in ("\n", ")", ";;"):
            self.cursor.fail("statements must be separated by &, ; or a newline")
        return found

    def _after_operator(
        self, operator: str, place: int, read: Callable[[], Statement | None]
    ) -> Statement:
        self._newlines()
        right = read()
        if right is None:
            ended = not self.cursor.char
            message = f"{operator} must be followed by a statement"
            self.cursor.fail(message, place, incomplete=ended)
        return right

    def _pipeline(self) -> Statement | None:
        begin = self.cursor.place
        negated = self._take_reserved("!")
        if negated:
            self.cursor.blanks()
        first = self._command()
        if first is None:
            if negated:
                self.cursor.fail('"!" cannot form a statement alone', begin)
            return None
        stages = [first]
        while True:
            self.cursor.blanks()
            place = self.cursor.place
            if self.cursor.operator() != "|":
                break
            self.cursor.take("|")
            stages.append(self._after_operator("|", place, self._command))
        if len(stages) == 1 and not negated:
            return first
        return Statement(Pipeline(tuple(stages)), (), negated, False, begin, self.cursor.place)

    def _command(self) -> Statement | None:
        self.cursor.blanks()
        begin = self.cursor.place
        compound = self._compound()
        redirects: list[Redirect] = []
        command = compound if compound is not None else self._simple(redirects)
        if command is None:
            return None
        while compound is not None and (found := self._redirect()) is not None:
            redirects.append(found)
        return Statement(command, tuple(redirects), begin=begin, end=self.cursor.place)

    def _compound(self) -> Command | None:
        cursor, begin, word = self.cursor, self.cursor.place, self._reserved()
        if cursor.at("("):
            return self._subshell(begin)
        if word in _MISPLACED:
            cursor.fail(f'"{word}" {_MISPLACED[word]}')
        readers: dict[str, Callable[[int], Command]] = {
            "{": self._block,
            "if": self._if,
            "while": self._loop,
            "until": self._loop,
            "for": self._for,
            "case": self._case,
        }
        if word not in readers:
            return self._definition()
        cursor.take(word)
        return readers[word](begin)

    def _subshell(self, begin: int) -> Group:
        self.cursor.take("(")
        body = self.script()
        if not self.cursor.take(")"):
            self.cursor.fail("reached EOF without matching ( with )", begin, incomplete=True)
        return Group(body, subshell=True)

    def _block(self, begin: int) -> Group:
        body = self.script("}")
        if not self._take_reserved("}"):
            self.cursor.fail("reached EOF without matching { with }", begin, incomplete=True)
        return Group(body)

    def _if(self, begin: int) -> If:
        branches: list[tuple[Script | None, Script]] = []
        word = "if"
        while True:
            condition = self._body(word, begin, "then")
            self._expect("then", f"{word} <cond>", begin)
            branches.append((condition, self._body("then", begin, "fi", "elif", "else")))
            if not self._take_reserved("elif"):
                break
            word = "elif"
        if self._take_reserved("else"):
            branches.append((None, self._body("else", begin, "fi")))
        self._end("fi", "if", begin)
        return If(tuple(branches))

    def _loop(self, begin: int) -> Loop:
        word = "until" if self.cursor.text.startswith("until", begin) else "while"
        condition = self._body(word, begin, "do")
        self._expect("do", f"{word} <cond>", begin)
        body = self._body("do", begin, "done")
        self._end("done", word, begin)
        return Loop(condition, body, until=word == "until")

    def _for(self, begin: int) -> For:
        self.cursor.blanks()
        match = NAME.match(self.cursor.text, self.cursor.place)
        if match is None:
            ended = not self.cursor.char
            self.cursor.fail('"for" must be followed by a literal', begin, incomplete=ended)
        self.cursor.place = match.end()
        self._newlines()
        words: list[Word] | None = None
        if self._take_reserved("in"):
            words = self._list_of_words()
        self.cursor.take(";")
        self._expect("do", "for foo [in words]", begin)
        body = self._body("do", begin, "done")
        self._end("done", "for", begin)
        return For(match[0], None if words is None else tuple(words), body)

    def _list_of_words(self) -> list[Word]:
        words: list[Word] = []
        while True:
            self.cursor.blanks()
            word = self.words.word()
            if word is None:
                return words
            words.append(word)

    def _case(self, begin: int) -> Case:
        self.cursor.blanks()
        word = self.words.word()
        if word is None:
            ended = not self.cursor.char
            self.cursor.fail('"case" must be followed by a word', begin, incomplete=ended)
        self._expect("in", "case x", begin)
        items: list[tuple[tuple[Word, ...], Script]] = []
        while True:
            self._newlines()
            if not self.cursor.char or self._reserved() == "esac":
                break
            patterns = self._patterns()
            items.append((patterns, self.script("esac")))
            if not self.cursor.take(";;"):
                break
        self._end("esac", "case", begin)
        return Case(word, tuple(items))

    def _patterns(self) -> tuple[Word, ...]:
        self.cursor.take("(")
        patterns: list[Word] = []
        while True:
            self.cursor.blanks()
            word = self.words.word()
            if word is None:
                self.cursor.fail("case patterns must consist of words")
            patterns.append(word)
            self.cursor.blanks()
            if self.cursor.take(")"):
                return tuple(patterns)
            if not self.cursor.take("|"):
                self.cursor.fail("case patterns must be separated with |")

    def _definition(self) -> FunctionDefinition | None:
        """`name()` and its body; None where something else comes."""
        cursor, begin, word = self.cursor, self.cursor.place, self._reserved()
        match = _BRACKETS.match(cursor.text, begin + len(word))
        if not word or match is None:
            return None
        if not NAME.fullmatch(word):
            cursor.fail("invalid func name")
        cursor.place = match.end()
        self._newlines()
        body = self._command()
        if body is None:
            ended = not cursor.char
            cursor.fail('"foo()" must be followed by a statement', begin, incomplete=ended)
        return FunctionDefinition(word, body)
