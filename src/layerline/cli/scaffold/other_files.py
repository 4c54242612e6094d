"""Requirements in setup.cfg, setup.py, Pipfile, environment.yml and cog.yaml.

Nothing of the repository is run: a setup.py is read as far as it is literal.
"""

from __future__ import annotations

import ast
import configparser
import re
from typing import TYPE_CHECKING, Any

import yaml

from layerline.cli.scaffold.poetry import dependencies
from layerline.cli.scaffold.project_file import read_toml
from layerline.cli.scaffold.requirement_files import take_file
from layerline.cli.scaffold.requirements import project
from layerline.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from layerline.cli.scaffold.requirements import Requirements

# Projects whose name in conda's channels is another one than in the index (PyPI).
_CONDA_NAMES = {"pytorch": "torch", "msgpack-python": "msgpack", "opencv": "opencv-python-headless"}
# Projects that have the same name in both. Other names may be anybody's in the index.
_CONDA_SAME = frozenset(
    {
        *("numpy", "scipy", "pandas", "scikit-learn", "scikit-image", "matplotlib", "seaborn"),
        *(
            "torchvision",
            "torchaudio",
            "jax",
            "jaxlib",
            "flax",
            "optax",
            "transformers",
            "datasets",
        ),
        *("tokenizers", "accelerate", "lightning", "pytorch-lightning", "torchmetrics", "h5py"),
        *("jupyterlab", "notebook", "ipykernel", "tqdm", "requests", "pyyaml", "pillow", "numba"),
        *("fastapi", "uvicorn", "flask", "gunicorn", "pydantic", "click", "rich", "typer", "wandb"),
        *("mlflow", "hydra-core", "omegaconf", "einops", "networkx", "sympy", "statsmodels"),
        *(
            "xgboost",
            "lightgbm",
            "catboost",
            "polars",
            "pyarrow",
            "dask",
            "joblib",
            "opencv-python",
        ),
        *("tensorboard", "nibabel", "pydicom", "simpleitk", "timm", "faiss-cpu", "sentencepiece"),
    }
)
_CONDA = re.compile(r"(?:[^:\s]+::)?(?P<name>[A-Za-z0-9._-]+)\s*(?P<version>[^\s]*)")
_CUDA_NAMES = ("pytorch-cuda", "cudatoolkit", "cuda", "cuda-toolkit", "cuda-version")


def take_others(home: Path, found: Requirements) -> None:
    """The files of other tools that exist."""
    for name, take in _FILES.items():
        if (home / name).is_file():
            take(home / name, found)


def _take_setup_cfg(path: Path, found: Requirements) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(errors="replace"))
    except configparser.Error as exc:
        message = f"{path.name} cannot be read: {exc}"
        raise UsageError(message) from exc
    found.project = found.project or project(parser.get("metadata", "name", fallback=""))
    python = parser.get("options", "python_requires", fallback="").strip()
    found.python += [python] if python else []
    listed = parser.get("options", "install_requires", fallback="")
    if listed.strip().startswith("file:"):
        for name in listed.strip().removeprefix("file:").split(","):
            take_file(path.parent, path.parent / name.strip(), "", found)
    elif listed:
        found.take("", _split(listed), f"{path.name}, options.install_requires")
    if parser.has_section("options.extras_require"):
        for extra, texts in parser.items("options.extras_require"):
            found.take(extra, _split(texts), f"{path.name}, the extra {extra!r}")


def _split(text: str) -> list[str]:
    separator = "\n" if "\n" in text.strip() else ";"
    return [line.strip() for line in text.split(separator) if line.strip()]


def _take_setup_py(path: Path, found: Requirements) -> None:
    try:
        tree = ast.parse(path.read_text(errors="replace"))
    except SyntaxError as exc:
        found.left.append(f"{path.name}:{exc.lineno}: cannot be read: {exc.msg}")
        return
    constants = _constants(tree)
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and _called(call) == "setup":
            for keyword in call.keywords:
                _take_keyword(path, keyword, constants, found)


def _take_keyword(
    path: Path, keyword: ast.keyword, constants: dict[str, Any], found: Requirements
) -> None:
    where = f"{path.name}:{keyword.value.lineno}"
    value = _value(keyword.value, constants)
    match keyword.arg, value:
        case "name", str():
            found.project = found.project or project(value)
        case "python_requires", str():
            found.python.append(value)
        case "install_requires", list() | tuple():
            found.take("", map(str, value), f"{where}, install_requires")
        case "install_requires", _:
            named = re.findall(r"[\w./-]*requirements[\w./-]*\.txt", ast.unparse(keyword.value))
            texts = named or re.findall(
                r"[\w./-]*requirements[\w./-]*\.txt", path.read_text(errors="replace")
            )
            if not texts:
                found.left.append(f"{where}: install_requires left out, as a program computes it")
            for name in dict.fromkeys(texts):
                take_file(path.parent, path.parent / name, "", found)
        case "extras_require", dict():
            for extra, texts in value.items():
                found.take(str(extra), map(str, texts), f"{where}, the extra {extra!r}")
        case "extras_require", _:
            found.left.append(f"{where}: extras_require left out, as a program computes it")
        case _:
            pass


def _constants(tree: ast.Module) -> dict[str, Any]:
    """The values of names that are assigned once, to literals."""
    found: dict[str, Any] = {}
    for each in tree.body:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            found[each.targets[0].id] = _value(each.value, found)
    return found


def _value(node: ast.expr, constants: dict[str, Any]) -> Any:  # noqa: ANN401  any literal
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _take_pipfile(path: Path, found: Requirements) -> None:
    document = read_toml(path)
    version = document.get("requires", {}).get("python_version")
    found.python += [f"=={version}.*"] if version else []
    for index in document.get("source", [])[1:]:
        found.leave_index(path.name, str(index.get("name", "")))
    table = document.get("packages", {})
    found.take("", dependencies(table, found, f"{path.name}, packages"), f"{path.name}, packages")


def _take_conda(path: Path, found: Requirements) -> None:
    for entry in _read_yaml(path).get("dependencies") or []:
        if isinstance(entry, dict):
            _take_pip_of_conda(path, [str(each) for each in entry.get("pip") or []], found)
        elif match := _CONDA.fullmatch(str(entry).strip()):
            _take_of_conda(match["name"].lower(), match["version"], path.name, found)
        else:
            found.leave(path.name, str(entry), "as it is not understood")


def _take_pip_of_conda(path: Path, lines: list[str], found: Requirements) -> None:
    for line in lines:
        if line.startswith("-r "):
            take_file(path.parent, path.parent / line.removeprefix("-r ").strip(), "", found)
    rest = [line for line in lines if not line.startswith("-r ")]
    found.take("", rest, f"{path.name}, pip")


def _take_of_conda(name: str, version: str, where: str, found: Requirements) -> None:
    specifier = _conda_version(version)
    if name == "python":
        found.python += [specifier] if specifier else []
    elif name in _CUDA_NAMES:
        major = re.search(r"\d+", version)
        found.cuda = major[0] if major else found.cuda
    elif name in _CONDA_SAME or name in _CONDA_NAMES:
        found.take("", [_CONDA_NAMES.get(name, name) + specifier], f"{where}, {name}")
    elif name not in ("pip", "setuptools", "wheel", "cpuonly"):
        found.leave(where, name, "as conda's name may be another project's in the index")


def _conda_version(text: str) -> str:
    """Conda's `=1.2` is any 1.2.x, and a second `=` begins a build."""
    if not text:
        return ""
    if match := re.fullmatch(r"=?(\d[\w.]*)(\.\*)?(?:=.*)?", text):
        return f"=={match[1]}.*" if text.startswith("=") else f"=={match[1]}{match[2] or ''}"
    return "" if text == "*" else text


def _take_cog(path: Path, found: Requirements) -> None:
    document = _read_yaml(path)
    build = document.get("build") or {}
    if "python_version" in build:
        found.python.append(f"=={build['python_version']}.*")
    found.packages += [str(name) for name in build.get("system_packages") or []]
    if build.get("gpu"):
        found.cuda = str(build.get("cuda") or "12").split(".")[0]
    found.take("", map(str, build.get("python_packages") or []), f"{path.name}, python_packages")
    if "python_requirements" in build:
        take_file(path.parent, path.parent / str(build["python_requirements"]), "", found)
    for key in ("run", "pre_install"):
        for each in build.get(key) or []:
            found.leave(path.name, str(each), f"as it is a command of build.{key}")
    if "predict" in document:
        shown = str(document["predict"])
        found.leave(path.name, shown, "as cog's own server runs it: set images.NAME.command")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(errors="replace"))
    except yaml.YAMLError as exc:
        message = f"{path.name} is not valid YAML: {exc}"
        raise UsageError(message) from exc
    return document if isinstance(document, dict) else {}


_FILES = {
    "setup.cfg": _take_setup_cfg,
    "setup.py": _take_setup_py,
    "Pipfile": _take_pipfile,
    "environment.yml": _take_conda,
    "environment.yaml": _take_conda,
    "cog.yaml": _take_cog,
}
