"""The plain commands of a script: assignments, words, redirections and here-documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from layerline.cli.shell.cursor import HereDocument
from layerline.cli.shell.grammar import Literal, Redirect, Simple, Word
from layerline.cli.shell.words import WordReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerline.cli.shell.cursor import Cursor
    from layerline.cli.shell.grammar import Script

_PLAIN = re.compile(r"[^\s|&;()<>'\"\\$`]+")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=")
_REDIRECT = re.compile(r"(\d*)(<<-|<<|>>|<&|>&|<>|>\||<|>)")
_QUOTES = str.maketrans("", "", "'\"\\")


class SimpleReader:
    """Reads plain commands at a cursor; `parse` reads the script of a substitution."""

    def __init__(self, cursor: Cursor, parse: Callable[[Cursor], Script]) -> None:
        self.cursor = cursor
        self.words = WordReader(cursor, parse)

    def _newlines(self) -> None:
        while True:
            self.cursor.blanks()
            if not self.cursor.take("\n"):
                return
            self._read_documents()

    def _read_documents(self) -> None:
        """Read the texts of the here-documents of the line that ended."""
        cursor = self.cursor
        for pending in cursor.pending:
            lines: list[str] = []
            while True:
                if not cursor.char:
                    cursor.fail("unclosed here-document", incomplete=True)
                end = cursor.text.find("\n", cursor.place)
                end = len(cursor.text) if end < 0 else end
                line = cursor.text[cursor.place : end]
                cursor.place = min(end + 1, len(cursor.text))
                line = line.lstrip("\t") if pending.strips_tabs else line
                if line == pending.delimiter:
                    break
                lines.append(line + "\n")
            text = "".join(lines)
            found = (
                self.words.document(text)
                if pending.expands
                else Word((Literal(text, quoted=True),))
            )
            pending.redirect.target = found
        cursor.pending.clear()

    def _reserved(self) -> str:
        """The plain word that comes next; empty where it is quoted, expanded or no word."""
        match = _PLAIN.match(self.cursor.text, self.cursor.place)
        if match is None or self.cursor.text[match.end() : match.end() + 1] in ("'", '"', "$", "`"):
            return ""
        return match[0]

    def _take_reserved(self, word: str) -> bool:
        self.cursor.blanks()
        return self._reserved() == word and self.cursor.take(word)

    def _simple(self, redirects: list[Redirect]) -> Simple | None:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        while True:
            self.cursor.blanks()
            redirect = self._redirect()
            if redirect is not None:
                redirects.append(redirect)
                continue
            match = _ASSIGNMENT.match(self.cursor.text, self.cursor.place)
            if match is not None and not words:
                self.cursor.place = match.end()
                assignments.append((match[1], self.words.word() or Word(())))
                continue
            word = self.words.word()
            if word is None:
                break
            if self.cursor.at("(") and not words:
                self.cursor.fail("invalid func name", word.begin)
            words.append(word)
        return (
            Simple(tuple(assignments), tuple(words)) if assignments or words or redirects else None
        )

    def _redirect(self) -> Redirect | None:
        self.cursor.blanks()
        match = _REDIRECT.match(self.cursor.text, self.cursor.place)
        if match is None:
            return None
        begin, operator = self.cursor.place, match[2]
        self.cursor.place = match.end()
        self.cursor.blanks()
        target = self.words.word()
        if target is None:
            ended = not self.cursor.char
            message = f"{operator} must be followed by a word"
            self.cursor.fail(message, begin, incomplete=ended)
        descriptor = int(match[1]) if match[1] else int(operator.startswith(">"))
        if operator not in ("<<", "<<-"):
            return Redirect(descriptor, operator, target)
        return self._here_document(descriptor, operator, target)

    def _here_document(self, descriptor: int, operator: str, delimiter: Word) -> Redirect:
        """A redirection whose text is read when the line has ended."""
        raw = self.cursor.text[delimiter.begin : delimiter.end]
        redirect = Redirect(descriptor, "<<", delimiter)
        self.cursor.pending.append(
            HereDocument(
                delimiter=raw.translate(_QUOTES),
                strips_tabs=operator == "<<-",
                expands=raw.translate(_QUOTES) == raw,
                redirect=redirect,
            )
        )
        return redirect
