"""What an op gives: a tree as snapshots, and of an exec also its mounts, exit code and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

INLINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Output of a program: in the row while it is small, a blob by its digest when it is large."""

    inline: str = ""
    blob: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A tree (`layers`, bottom first).

    For an exec: the trees of its mounts, exit code and outputs. Results with the same `identity`
    have the same files, whatever their keys are. In a result of another machine `mounts` are what
    the exec wrote to them alone, and `written` has a digest of each mounted path, or nothing.
    """

    layers: tuple[str, ...] = ()
    mounts: tuple[tuple[str, ...], ...] = ()
    code: int = 0
    stdout: Text = Text()
    stderr: Text = Text()
    combined: Text = Text()
    identity: str = ""
    written: tuple[str, ...] | None = None

    def snapshots(self) -> set[str]:
        """Every snapshot that the result needs."""
        return set(self.layers).union(*self.mounts)

    def document(self) -> dict[str, Any]:
        """The row of the store's index."""
        row: dict[str, Any] = {"layers": list(self.layers), "identity": self.identity}
        if self.mounts or self.code or self.stdout != Text() or self.stderr != Text():
            row |= {
                "mounts": [list(mount) for mount in self.mounts],
                "code": self.code,
                "stdout": [self.stdout.inline, self.stdout.blob],
                "stderr": [self.stderr.inline, self.stderr.blob],
                "combined": [self.combined.inline, self.combined.blob],
            }
        if self.written is not None:
            row["written"] = list(self.written)
        return row

    @classmethod
    def from_document(cls, row: dict[str, Any]) -> Result:
        """The result of a row."""
        return cls(
            layers=tuple(row["layers"]),
            mounts=tuple(tuple(mount) for mount in row.get("mounts", ())),
            code=row.get("code", 0),
            stdout=_text(row.get("stdout")),
            stderr=_text(row.get("stderr")),
            combined=_text(row.get("combined")),
            identity=row.get("identity", ""),
            written=tuple(row["written"]) if "written" in row else None,
        )


def _text(pair: list[str | None] | None) -> Text:
    return Text(inline=pair[0] or "", blob=pair[1]) if pair else Text()
