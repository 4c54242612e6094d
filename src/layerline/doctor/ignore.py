"""The ignore file for ML projects: what to leave out, by category, and what has to stay.

Invariant: the text depends on the Dockerfiles alone, so a second run writes the same; it never
excludes what a Dockerfile copies.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layerline.doctor.build_context import Excluded
from layerline.patterns import Matcher, PatternError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.doctor.dockerfile import Dockerfile

_SECRET_NAMES = frozenset(
    {
        *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", ".pypirc", ".git-credentials"),
        *(".htpasswd", "credentials", "kaggle.json", "kubeconfig"),
    }
)
_SECRET_SUFFIXES = frozenset({"pem", "key", "p12", "pfx", "kdbx", "keystore", "jks"})
_PUBLIC = ("cacert", "ca-bundle", "ca-certificates")
_SECRET_JSON = re.compile(
    r"(?:.*[-_])?credentials(?:[-_].*)?\.json|service[-_]account.*\.json|client_secret.*\.json"
)
_EXAMPLES = frozenset({"example", "sample", "template", "dist"})


@dataclass(frozen=True)
class Category:
    """One section of the file. `valuable`: a Dockerfile may well want such files on purpose."""

    title: str
    patterns: tuple[str, ...]
    valuable: bool = False


CATEGORIES = (
    Category("git", (".git", ".gitattributes", ".gitmodules", ".github", ".gitlab-ci.yml")),
    Category("IDE", (".idea", ".vscode", "**/*.swp", "**/*~", "*.code-workspace")),
    Category(
        "Python caches",
        (
            *("**/__pycache__", "**/*.pyc", "**/*.pyo", "**/.pytest_cache", "**/.mypy_cache"),
            *("**/.ruff_cache", "**/*.egg-info", ".coverage", "htmlcov", ".tox", ".nox"),
        ),
    ),
    Category("environments", (".venv", "venv", "env", ".conda", ".pixi")),
    Category(
        "secrets",
        (
            *("**/.env", "**/.env.*", "**/*.pem", "**/*.key", "**/id_rsa", "**/id_ed25519"),
            *("**/.netrc", "**/.pypirc", "**/.git-credentials", "**/kaggle.json"),
            *("**/*credentials*.json", "**/service-account*.json", "**/service_account*.json"),
        ),
    ),
    Category("notebooks", ("**/.ipynb_checkpoints", "**/*.ipynb"), valuable=True),
    Category(
        "logs and databases",
        ("**/*.log", "logs", "**/*.sqlite", "**/*.sqlite3", "**/*.db"),
        valuable=True,
    ),
    Category(
        "data", ("data", "datasets", "**/*.parquet", "**/*.tfrecord", "**/*.dcm"), valuable=True
    ),
    Category("caches", (".cache", ".huggingface", "**/.dvc/cache", "**/.dvc/tmp")),
    Category(
        "ML tools",
        ("mlruns", "wandb", "lightning_logs", "outputs", "multirun", "runs"),
        valuable=True,
    ),
    Category(
        "checkpoints",
        ("checkpoints", "**/*.ckpt", "**/*.pt", "**/*.pth", "**/*.onnx"),
        valuable=True,
    ),
    Category("node", ("**/node_modules", "**/.npm")),
    Category("docs", ("docs/_build", "site")),
    Category("OS", ("**/.DS_Store", "**/Thumbs.db", "**/desktop.ini")),
    Category("temporary", ("tmp", "**/*.tmp", "**/*.bak")),
    Category(
        "large binaries",
        ("**/*.tar", "**/*.tar.gz", "**/*.tgz", "**/*.zip", "**/*.h5", "**/*.safetensors"),
        valuable=True,
    ),
)
KEPT = ("!**/.env.example",)

# A path that must be left out, and the pattern that does so.
ESSENTIAL = (
    (".git/config", ".git"),
    ("pkg/__pycache__/m.cpython-311.pyc", "**/__pycache__"),
    ("pkg/m.pyc", "**/*.pyc"),
    (".venv/bin/python", ".venv"),
    ("venv/bin/python", "venv"),
    ("pkg/.ipynb_checkpoints/n.ipynb", "**/.ipynb_checkpoints"),
    ("data/train.bin", "data"),
    ("outputs/run/log.txt", "outputs"),
    ("mlruns/0/meta.yaml", "mlruns"),
    ("wandb/run/file", "wandb"),
    (".env", "**/.env"),
    ("run.log", "**/*.log"),
)


def is_secret(name: str) -> bool:
    """Whether a file of this name is likely to hold a secret."""
    if name in _SECRET_NAMES:
        return True
    stem, _, suffix = name.rpartition(".")
    if suffix in _SECRET_SUFFIXES:
        return not stem.startswith(_PUBLIC)
    if suffix == "json":
        return _SECRET_JSON.fullmatch(name) is not None
    return name == ".env" or (name.startswith(".env.") and suffix not in _EXAMPLES)


def missing_essentials(patterns: Sequence[str], copied: Sequence[str] = ()) -> list[str]:
    """The essential patterns whose effect the file does not have; not those of what is copied."""
    excluded = Excluded(patterns)
    return [
        pattern
        for sample, pattern in ESSENTIAL
        if not excluded.excludes(sample) and not hides(pattern, copied)
    ]


def copied_sources(dockerfiles: Sequence[Dockerfile]) -> list[str]:
    """The paths that Dockerfiles copy by name; copies of the entire context do not count."""
    named = {source for each in dockerfiles for _, source in each.sources}
    return sorted(named - {".", "*", "./*"})


def hides(pattern: str, copied: Sequence[str]) -> bool:
    """Whether a pattern would exclude a source, or what a source's wildcard matches."""
    excluded = Excluded([pattern])
    plain = pattern.lstrip("*/")
    return any(
        excluded.excludes(re.sub(r"\*+", "x", each)) or _names(each, plain) for each in copied
    )


def ignore_lines(dockerfiles: Sequence[Dockerfile], project: Path) -> list[str]:
    """The generated lines: each category with a heading, without what would hide a source."""
    copied = copied_sources(dockerfiles)
    inside = _inside(project, copied)
    lines: list[str] = []
    for category in CATEGORIES:
        lines.append(f"# {category.title}")
        protected = [*copied, *inside] if category.valuable else copied
        for pattern in category.patterns:
            kept = hides(pattern, protected)
            lines.append(f"# kept, a Dockerfile copies it: {pattern}" if kept else pattern)
    return [*lines, "# kept exceptions", *KEPT]


def _names(source: str, path: str) -> bool:
    try:
        return Matcher([source]).matches_exactly(path)
    except PatternError:
        return False  # the builder refuses such a source


def _inside(project: Path, copied: Sequence[str]) -> list[str]:
    """Files in copied directories, one of each kind, to keep patterns from hiding the like."""
    kinds: dict[str, str] = {}
    for source in copied:
        for folder, _, names in os.walk(project / source):
            above = Path(folder).relative_to(project)
            kinds.update({Path(name).suffix or name: str(above / name) for name in names})
    return sorted(kinds.values())
