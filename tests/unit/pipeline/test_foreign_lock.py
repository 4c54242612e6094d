"""Locks of uv, poetry, PEP 751 and pip-tools become pins for the groups of one target.

The texts have the forms that uv 0.13, poetry 2 and pip-tools write; what is to be installed is what
`uv sync`, `poetry install` and `pip install --require-hashes` would install of them.
"""

from __future__ import annotations

import re

import pytest

from layerline.pipeline import builder_pins
from layerline.pipeline.definition import parse_definition
from layerline.pipeline.foreign_lock import (
    LockedSource,
    merge,
    own_part,
    read,
    with_directories,
    without_wheel,
)
from layerline.pipeline.lock import LockError
from layerline.pipeline.lock_inputs import LockInputs
from layerline.pipeline.partition import partition
from layerline.pipeline.platform import Platform

HERE = Platform(python="3.11.2", machine="x86_64")
OLD = Platform(python="3.10.12", machine="x86_64")
SHA = {name: f"sha256:{digit * 64}" for name, digit in (("wheel", "a"), ("sdist", "b"))}


def uv_package(name: str, version: str = "1.0", *, more: str = "", registry: bool = True) -> str:
    source = 'registry = "https://index.example/simple"' if registry else 'virtual = "."'
    files = f"""\
sdist = {{ url = "https://index.example/{name}.tar.gz", hash = "{SHA["sdist"]}" }}
wheels = [{{ url = "https://index.example/{name}.whl", hash = "{SHA["wheel"]}" }}]
"""
    head = f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ {source} }}\n'
    return head + more + (files if registry else "") + "\n"


HTTPX = """\
dependencies = [
    { name = "anyio" },
    { name = "colorama", marker = "sys_platform == 'win32'" },
    { name = "tomli", marker = "python_full_version < '3.11'" },
]
"""
UV = (
    'version = 1\nrevision = 3\nrequires-python = ">=3.10"\n\n'
    + uv_package("anyio")
    + uv_package("colorama")
    + uv_package("httpx", more=HTTPX)
    + '[package.optional-dependencies]\nhttp2 = [{ name = "h2" }]\n\n'
    + uv_package("h2")
    + uv_package("mine", more='dependencies = [{ name = "httpx" }]\n', registry=False)
    + uv_package("numpy", "1.26", more="resolution-markers = [\"python_version < '3.11'\"]\n")
    + uv_package("numpy", "2.4", more="resolution-markers = [\"python_version >= '3.11'\"]\n")
    + uv_package("tomli")
    + uv_package("unused")
)
POETRY = f"""\
[[package]]
name = "httpx"
version = "1.0"
optional = false
files = [{{file = "httpx.whl", hash = "{SHA["wheel"]}"}}]

[package.dependencies]
Anyio = "*"
colorama = {{version = "*", markers = "sys_platform == \\"win32\\""}}
h2 = {{version = ">=3", optional = true, markers = "extra == \\"http2\\""}}

[package.extras]
http2 = ["h2 (>=3,<5)"]

[[package]]
name = "anyio"
version = "1.0"
files = [{{file = "anyio.whl", hash = "{SHA["wheel"]}"}}]

[[package]]
name = "h2"
version = "1.0"
files = [{{file = "h2.whl", hash = "{SHA["wheel"]}"}}]

[[package]]
name = "unused"
version = "1.0"
files = [{{file = "unused.whl", hash = "{SHA["wheel"]}"}}]

[metadata]
lock-version = "2.1"
python-versions = ">=3.10"
content-hash = "00"
"""
PYLOCK = "".join(
    f"""\
[[packages]]
name = "{name}"
version = "1.0"
{more}
wheels = [{{ url = "https://index.example/x.whl", hashes = {{ sha256 = "{"a" * 64}" }} }}]

"""
    for name, more in (
        ("httpx", 'dependencies = [{ name = "anyio" }, { name = "h2" }]'),
        ("anyio", ""),
        ("h2", ""),
        ("colorama", "marker = \"sys_platform == 'win32'\""),
        ("unused", ""),
    )
)
PYLOCK = f'lock-version = "1.0"\ncreated-by = "test"\n\n{PYLOCK}'
REQUIREMENTS = f"""\
--index-url https://index.example/simple
anyio==1.0 \\
    --hash={SHA["wheel"]} \\
    --hash={SHA["sdist"]}
    # via
    #   httpx
    #   -r requirements.in
colorama==1.0 ; sys_platform == "win32" \\
    --hash={SHA["wheel"]}
    # via httpx
h2==1.0 --hash={SHA["wheel"]}
    # via httpx
httpx[http2]==1.0 \\
    --hash={SHA["wheel"]}
    # via -r requirements.in
unused==1.0 \\
    --hash={SHA["wheel"]}
"""


def pins(path: str, text: str, *requirements: str, platform: Platform = HERE) -> dict[str, str]:
    """The version of each pin and what requires it."""
    found = read(path, text, requirements, platform)
    without_hashes = re.sub(r" \\\n    --hash=sha256:\w{64}", "", found)
    return dict(re.findall(r"^(\S+==\S+)(?:\n    # via (.*))?$", without_hashes, re.MULTILINE))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("uv.lock", UV),
        ("poetry.lock", POETRY),
        ("pylock.toml", PYLOCK),
        ("requirements.txt", REQUIREMENTS),
    ],
)
def test_what_the_groups_lead_to_is_taken_and_nothing_else(path: str, text: str) -> None:
    assert pins(path, text, "httpx[http2]>=0.5") == {
        "anyio==1.0": "httpx",
        "h2==1.0": "httpx",
        "httpx==1.0": "",
    }


@pytest.mark.parametrize(("path", "text"), [("uv.lock", UV), ("poetry.lock", POETRY)])
def test_an_extra_that_nobody_asks_for_brings_nothing(path: str, text: str) -> None:
    assert pins(path, text, "httpx") == {"anyio==1.0": "httpx", "httpx==1.0": ""}


def test_markers_and_forks_are_decided_for_the_platform() -> None:
    assert pins("uv.lock", UV, "httpx", "numpy", platform=OLD).keys() == {
        *("anyio==1.0", "httpx==1.0", "numpy==1.26", "tomli==1.0"),
    }
    assert "numpy==2.4" in pins("uv.lock", UV, "numpy")
    assert pins("uv.lock", UV, "colorama; sys_platform == 'win32'") == {}


def test_all_hashes_are_taken_and_no_url() -> None:
    assert read("uv.lock", UV, ["anyio"], HERE) == (
        f"anyio==1.0 \\\n    --hash={SHA['wheel']} \\\n    --hash={SHA['sdist']}\n"
    )


def test_packages_of_a_lock_without_dependencies_are_shared() -> None:
    # As `uv export --format=pylock.toml` writes it: nothing says who requires whom.
    flat = re.sub(r"^dependencies = .*$", "", PYLOCK, flags=re.MULTILINE)
    assert pins("pylock.toml", flat, "httpx", "h2")["anyio==1.0"] == "h2, httpx"


FILE = """\
[[package]]
name = "one"
version = "1"
[package.source]
type = "file"
url = "one-1.whl"
[metadata]
lock-version = "2.1"
"""
LOCAL = """\
[[packages]]
name = "one"
archive = { path = "one-1.whl", hashes = { sha256 = "aa" } }
"""


@pytest.mark.parametrize(
    ("path", "text", "requirement", "said"),
    [
        ("uv.lock", UV, "mine", "mine from a directory of the repository"),
        ("uv.lock", UV.replace("registry =", "git ="), "anyio", "anyio from git+https://index"),
        ("uv.lock", UV.replace("registry =", "path ="), "anyio", "anyio from the file https://"),
        ("requirements.txt", "one @ git+https://h.example/one@main\n", "one", "names no commit"),
        ("requirements.txt", "one @ file:///one\n", "one", "one from file:///one: take a release"),
        (
            "requirements.txt",
            "one @ ./one-1.whl\n",
            "one",
            "./one-1.whl: require its version, with",
        ),
        ("poetry.lock", FILE, "one", "one from the file one-1.whl: require its version, with its"),
        ("pylock.toml", LOCAL, "one", "from the file one-1.whl: require its version, with its"),
        ("requirements.txt", "one @ https://h.example/one.zip\n", "one", "no hashes for one"),
        ("requirements.txt", "anyio==1.0\n", "anyio", "no hashes for anyio: write it with --gen"),
        ("requirements.txt", "anyio>=1\n", "anyio", "a line that pins no version"),
        ("uv.lock", "version = ", "anyio", "uv.lock is not TOML"),
    ],
)
def test_what_has_no_hash_is_refused(path: str, text: str, requirement: str, said: str) -> None:
    with pytest.raises(LockError, match=re.escape(said)):
        read(path, text, [requirement], HERE)


TOML = """\
[targets.cpu]
lock = "uv.lock"
[groups.web]
requirements = ["httpx[http2]"]
[groups.core]
requirements = ["numpy>=2"]
[images.small]
target = "cpu"
groups = ["web", "core"]
"""
DEFINITION = parse_definition(TOML)
OWN = LockInputs.of(DEFINITION, "cpu", HERE).header() + "".join(
    f"{name}==3 \\\n    --hash=sha256:cc\n" for name in ("uv", "left-from-before")
)


def test_it_is_partitioned_with_the_installer_of_the_targets_own_lock() -> None:
    made = partition(merge(OWN, UV, DEFINITION, "cpu"), DEFINITION, "cpu")
    assert made.installer.startswith("uv==3 ")
    layers = {name: [pin.name for pin in layer.pins] for name, layer in made.layers.items()}
    assert layers == {"core": ["numpy"], "web": ["anyio", "h2", "httpx"]}


def test_a_lock_that_does_not_fit_is_to_be_updated_by_its_tool() -> None:
    definition = parse_definition(TOML.replace("numpy>=2", "numpy>=3").replace("httpx[", "scipy["))
    with pytest.raises(LockError) as caught:
        partition(merge(OWN, UV, definition, "cpu"), definition, "cpu")
    said = str(caught.value)
    assert said.startswith("uv.lock does not fit layerline.toml: update it with the tool that")
    assert "group core requires numpy>=3; the lock has numpy==2.4" in said
    assert "group web requires scipy[http2]; the lock has no entry for scipy" in said


def test_what_is_left_out_of_the_resolution_is_left_out_here_as_well() -> None:
    definition = parse_definition(TOML.replace("[groups.web]", '[groups.web]\nwithout = ["h2"]'))
    assert "h2==" not in merge(OWN, UV, definition, "cpu")


SDIST = "only_source-1.0.tar.gz"
OTHERS = (
    "only_source-1.0-cp310-cp310-manylinux_2_17_x86_64.whl",
    "only_source-1.0-cp311-cp311-win_amd64.whl",
)


def with_files(tool: str, *files: str) -> str:
    """A lock of a tool with one package of those files."""
    head = "[[packages]]" if tool == "pylock" else "[[package]]"
    head += '\nname = "only-source"\nversion = "1.0"\n'
    wheels = [name for name in files if name.endswith(".whl")]
    sha = SHA["sdist"]
    if tool == "poetry":
        listed = ", ".join(f'{{file = "{name}", hash = "{sha}"}}' for name in files)
        return f'{head}optional = false\nfiles = [{listed}]\n[metadata]\nlock-version = "2.1"\n'
    hashed = f'hashes = {{ sha256 = "{sha[7:]}" }}' if tool == "pylock" else f'hash = "{sha}"'
    url = "https://index.example/"
    listed = ", ".join(f'{{ url = "{url}{name}", {hashed} }}' for name in wheels)
    source = 'source = { registry = "https://index.example/simple" }\n' if tool == "uv" else ""
    return f'{head}{source}sdist = {{ url = "{url}{SDIST}", {hashed} }}\nwheels = [{listed}]\n'


@pytest.mark.parametrize("tool", ["uv", "poetry", "pylock"])
def test_what_has_no_wheel_for_the_platform_is_to_be_built(tool: str) -> None:
    # The tags are those of packaging.tags: abi3 and pure wheels fit, those of others do not.
    path = {"uv": "uv.lock", "poetry": "poetry.lock", "pylock": "pylock.toml"}[tool]
    toml = TARGET.replace("LOCK", path)
    for files, lacks in (
        ((SDIST,), True),
        ((SDIST, *OTHERS), True),
        ((SDIST, *OTHERS, "only_source-1.0-cp38-abi3-manylinux2014_x86_64.whl"), False),
        ((SDIST, "only_source-1.0-py3-none-any.whl"), False),
    ):
        found = without_wheel(with_files(tool, *files), parse_definition(toml), "cpu", HERE)
        source = LockedSource(version="1.0", hashes=(SHA["sdist"],) * len(files))
        assert found == ({"only-source": source} if lacks else {})


def test_what_builds_a_package_of_their_lock_is_in_the_own_one() -> None:
    definition = parse_definition(TARGET.replace("LOCK", "uv.lock"))
    sources = {"only-source": ["setuptools"]}
    header = LockInputs.of(definition, "cpu", HERE, sources).header()
    names = ("only-source", "setuptools", "uv")
    own = header + "".join(f"{name}==1.0 \\\n    --hash=sha256:aa\n" for name in names)
    kept = own_part(own, definition, "cpu")
    assert re.findall(r"^([a-z-]+)==", kept, re.MULTILINE) == ["setuptools", "uv"]
    parts = partition(merge(kept, with_files("uv", SDIST), definition, "cpu"), definition, "cpu")
    [pin] = parts.layers["core"].built
    assert (pin.name, pin.hashes) == ("only-source", (SHA["sdist"],))


COMMIT = "986b70489f747bc131127f0315a24dc30dcd3dfa"
# The forms are those of uv 0.13, poetry 2.1 and the specification of pylock.toml.
ELSEWHERE = {
    "sub/uv.lock": f"""\
[[package]]
name = "of-git"
version = "1.5"
source = {{ git = "https://h.example/one?subdirectory=py&rev=v1#{COMMIT}" }}
dependencies = [{{ name = "of-url" }}]
[[package]]
name = "of-url"
version = "2.0"
source = {{ url = "https://h.example/two-2.0.tar.gz" }}
sdist = {{ hash = "{SHA["sdist"]}" }}
[[package]]
name = "of-place"
source = {{ editable = "../libs/three" }}
dependencies = [{{ name = "of-git" }}]
""",
    "sub/poetry.lock": f"""\
[[package]]
name = "of-git"
version = "1.5"
files = []
[package.dependencies]
of-url = "*"
[package.source]
type = "git"
url = "https://h.example/one"
reference = "v1"
resolved_reference = "{COMMIT}"
subdirectory = "py"
[[package]]
name = "of-url"
version = "2.0"
files = [{{file = "two-2.0.tar.gz", hash = "{SHA["sdist"]}"}}]
[package.source]
type = "url"
url = "https://h.example/two-2.0.tar.gz"
[[package]]
name = "of-place"
version = "0"
files = []
[package.dependencies]
of-git = "*"
[package.source]
type = "directory"
url = "../libs/three"
[metadata]
lock-version = "2.1"
""",
    "sub/pylock.toml": f"""\
[[packages]]
name = "of-git"
version = "1.5"
dependencies = [{{ name = "of-url" }}]
[packages.vcs]
type = "git"
url = "https://h.example/one"
commit-id = "{COMMIT}"
subdirectory = "py"
[[packages]]
name = "of-url"
version = "2.0"
archive = {{ url = "https://h.example/two-2.0.tar.gz", hashes = {{ sha256 = "{"b" * 64}" }} }}
[[packages]]
name = "of-place"
directory = {{ path = "../libs/three", editable = true }}
dependencies = [{{ name = "of-git" }}]
""",
}
GIT = f"git+https://h.example/one@{COMMIT}#subdirectory=py"


@pytest.mark.parametrize("path", ELSEWHERE)
def test_what_is_of_a_repository_an_archive_or_a_directory_is_built(path: str) -> None:
    text = ELSEWHERE[path]
    toml = TARGET.replace("LOCK", path).replace("only-source", "of-place")
    definition = with_directories(parse_definition(toml), "cpu", text, HERE)
    assert definition.images["app"].projects == ("libs/three",)
    assert read(path, text, ["of-place"], HERE) == (
        f"# version: of-git 1.5\nof-git @ {GIT}\n    # via of-place\n"
        "# version: of-place 0\nof-place @ directory:libs/three\n"
        "# version: of-url 2.0\nof-url @ https://h.example/two-2.0.tar.gz \\\n"
        f"    --hash={SHA['sdist']}\n    # via of-git\n"
    )
    found = without_wheel(text, definition, "cpu", HERE)
    assert found == {
        "of-git": LockedSource(version="1.5", hashes=(), url=GIT),
        "of-url": LockedSource(
            version="2.0", hashes=(SHA["sdist"],), url="https://h.example/two-2.0.tar.gz"
        ),
    }
    sources = {name: ["setuptools"] for name in found}
    builds: dict[str, tuple[str, ...]] = {"libs/three": ()}
    own = LockInputs.of(definition, "cpu", HERE, sources, builds).header()
    pins = "setuptools==80 --hash=sha256:aa\n"
    own += builder_pins.render(dict.fromkeys(sources, pins), {}) + "uv==3 --hash=sha256:cc\n"
    parts = partition(merge(own, text, definition, "cpu"), definition, "cpu")
    [layer] = parts.layers.values()
    # The directory is a project of the image, in no layer of packages.
    assert [(pin.name, pin.version) for pin in layer.built] == [
        ("of-git", "1.5"),
        ("of-url", "2.0"),
    ]
    assert [each.name for each in layer.pins] == ["of-git", "of-url"]
    assert {name: [each.name for each in by] for name, by in layer.builders.items()} == sources


def test_a_commit_of_requirements_with_hashes_is_taken() -> None:
    text = f"one @ git+https://h.example/one@{COMMIT} ; python_version > '3'\n    # via two\n"
    assert read("requirements.txt", text, ["one"], HERE) == (
        f"one @ git+https://h.example/one@{COMMIT}\n"
    )


HASHED = f"""\
--index-url https://h.example/simple
one==1.0 \\
    --hash={SHA["wheel"]}
LINE
    # via -r requirements.in
two==2.0 --hash={SHA["sdist"]}
    # via one
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-e ./lib", 'names no package: add projects = ["lib"] to the images that need it'),
        ("./lib/", 'names no package: add projects = ["lib"] to the images'),
        ("--editable=file:lib[web]", 'names no package: add projects = ["lib"] to the images'),
        ("file:///home/me/lib", "lock it with its path from the repository's root"),
        ("./dist/one-1.0.whl", "is a file, which is not taken as it is: require its version"),
        (
            "-e git+https://h.example/x@1#egg=x",
            "write it as NAME @ git+https://h.example/x@1#egg=x",
        ),
        ("-r more.txt", "is not followed: lock all requirements into one file with hashes"),
    ],
)
def test_a_line_of_requirements_without_a_name_is_not_skipped(line: str, said: str) -> None:
    """The forms of lines that pip's Requirements File Format has (example of an options list)."""
    definition = parse_definition(TARGET.replace("LOCK", "req.txt").replace("only-source", "one"))
    text = HASHED.replace("LINE", line)
    with pytest.raises(LockError) as caught:
        with_directories(definition, "cpu", text, HERE)
    assert str(caught.value).startswith(f"req.txt:4: {line!r} ")
    assert said in str(caught.value)


def test_a_directory_of_requirements_is_a_project() -> None:
    path = "req.txt"
    toml = TARGET.replace("LOCK", path).replace("only-source", "one")
    known = parse_definition(toml + 'projects = ["lib"]\n')
    for line in ("-e ./lib", "./lib"):
        text = HASHED.replace("LINE", line)
        assert with_directories(known, "cpu", text, HERE).images == known.images
        # What its comment says is about it, and not about the package before it.
        assert read(path, text, ["one"], HERE) == (
            f"one==1.0 \\\n    --hash={SHA['wheel']}\n"
            f"two==2.0 \\\n    --hash={SHA['sdist']}\n    # via one\n"
        )
    named = HASHED.replace("LINE", "lib @ ./libs/lib")
    definition = parse_definition(toml.replace('"one"]', '"one", "lib"]'))
    found = with_directories(definition, "cpu", named, HERE)
    assert found.images["app"].projects == ("libs/lib",)


TARGET = """\
[targets.cpu]
lock = "LOCK"
[groups.core]
requirements = ["only-source"]
[images.app]
target = "cpu"
groups = ["core"]
"""
