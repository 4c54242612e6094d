"""Projects of a repository as wheels in its images: built alone, installed last, and run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from layerline import command
from layerline.settings import process_environ
from tests import git_server
from tests.images import cache_directory, serve
from tests.integration.conftest import Call, Project, succeeded
from tests.integration.test_layers import LONGEST_SECONDS, ONE, environment, manifest
from tests.integration.wheels import write_wheel

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

DEFINITION = f"""\
[base]
image = "python:3.11-slim"
packages = ["python3-venv", "tini"]
[targets.cpu]
[groups.core]
requirements = ["{ONE}"]
[images.app]
target = "cpu"
groups = ["core"]
source = ["README.md"]
projects = ["app", "libs/other"]
command = ["greet"]
[images.dev]
target = "cpu"
groups = ["core"]
projects = ["app"]
editable = true
command = ["greet"]
"""
PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
# A backend of few lines: it records what it can reach, which a build must not.
BACKEND = """\
import errno, os, pathlib, socket, zipfile

def reach():
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=2).close()
    except OSError as exc:
        # ECONNREFUSED where there is a network. The engine's filter is one of the two.
        [filters] = [e for e in open("/proc/self/status") if e.startswith("Seccomp_filters:")]
        return errno.errorcode[exc.errno] + filters.split()[1]
    return "reached"

def wheel(output, files):
    info = f"{NAME}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {NAME}\\nVersion: 1.0\\n" + REQUIRES,
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        f"{info}/entry_points.txt": f"[console_scripts]\\n{COMMAND} = {MODULE}:main\\n",
    }
    names = [*files, f"{info}/RECORD"]
    with zipfile.ZipFile(pathlib.Path(output) / f"{NAME}-1.0-py3-none-any.whl", "w") as archive:
        for each in names:
            archive.writestr(each, files.get(each, "".join(f"{name},,\\n" for name in names)))
    return f"{NAME}-1.0-py3-none-any.whl"

def build_wheel(output, config_settings=None, metadata_directory=None):
    text = pathlib.Path("module.py").read_text().replace("REACH", reach())
    return wheel(output, {f"{MODULE}.py": text})

def build_editable(output, config_settings=None, metadata_directory=None):
    return wheel(output, {f"{NAME}.pth": str(pathlib.Path("src").resolve()) + "\\n"})
"""
MAIN = 'def main():\n    print("hello from", __file__, "REACH")\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, registry: str) -> Project:
    """A repository of two projects, whose images are locked."""
    serve(registry, cache_directory(process_environ()))
    home = tmp_path_factory.mktemp("projects")
    write_wheel(home / "wheels", ONE, "1.0")
    for path, name, requires in (("app", "greet", ONE), ("libs/other", "other", "")):
        place = home / path
        (place / "src").mkdir(parents=True)
        asked = f"Requires-Dist: {requires}\\n" if requires else ""
        values = f'NAME, REQUIRES = "{place.name}", "{asked}"\nCOMMAND = MODULE = "{name}"\n'
        (place / "pyproject.toml").write_text(PYPROJECT)
        (place / "backend.py").write_text(BACKEND + values)
        (place / "module.py").write_text(MAIN)
        (place / "src" / f"{name}.py").write_text(MAIN)
    (home / "README.md").write_text("an app\n")
    (home / "layerline.toml").write_text(DEFINITION)
    (home / "locks").mkdir()
    command.run(["git", "-C", str(home), "init", "--quiet"])
    made = Project(home=home, environ=environment(tmp_path_factory.mktemp("home"), registry))
    succeeded(call(made, "lock", "--target=cpu", "export", "--path=locks/cpu.txt"))
    return made


def call(project: Project, *words: str) -> Call:
    return project.call("call", "--wheelhouse=wheels", *words, timeout=LONGEST_SECONDS)


def called(project: Project, *words: str) -> Call:
    """A call that has its packages from the index alone."""
    return project.call("call", *words, timeout=LONGEST_SECONDS)


def build(project: Project, image: str) -> list[str]:
    """The layers of an image that was built."""
    succeeded(call(project, "build", f"--image={image}", "export", f"--path={image}.tar"))
    return manifest(project.home / f"{image}.tar")[1]


def run(project: Project, image: str) -> str:
    chain = ("call", "container", "import", f"--source={image}.tar")
    words = (*chain, "with-exec", "--use-entrypoint", "--args=greet", "stdout")
    return succeeded(project.call("--no-mod", *words, timeout=LONGEST_SECONDS)).stdout


def test_projects_are_built_without_a_network_and_are_the_last_layer(project: Project) -> None:
    before = build(project, "app")
    assert run(project, "app") == (
        "hello from /opt/venv/lib/python3.11/site-packages/greet.py ENETUNREACH2\n"
    )
    config = json.loads(json.dumps(manifest(project.home / "app.tar")[2]["config"]))
    found = json.loads(config["Labels"]["layerline.evidence"])[-1]
    assert found["probes"][-1]["probe"] == "versions"
    # A changed line of one project: its own wheel is built again, and the last layer alone is new.
    (project.home / "app" / "module.py").write_text(MAIN.replace("hello", "good morning"))
    done = succeeded(call(project, "build", "--image=app", "export", "--path=app.tar"))
    built = [line for line in done.stderr.splitlines() if '{"wheel": ' in line]
    assert [line.partition('{"wheel": ')[2].split('"')[1] for line in built] == ["app==1.0"], built
    after = manifest(project.home / "app.tar")[1]
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]
    assert run(project, "app").startswith("good morning from ")


def test_an_editable_image_runs_the_source(project: Project) -> None:
    build(project, "dev")
    assert run(project, "dev") == "hello from /app/app/src/greet.py REACH\n"


def test_what_a_project_requires_and_no_layer_has_stops_the_build(project: Project) -> None:
    backend = project.home / "app" / "backend.py"
    text = backend.read_text()
    backend.write_text(text.replace(f"Requires-Dist: {ONE}", f"Requires-Dist: {ONE}>=2"))
    done = call(project, "build", "--image=app")
    backend.write_text(text)
    assert done.status == 1
    assert f"app (app 1.0) requires {ONE}>=2; its layers have 1.0" in done.stderr


FROM_ELSEWHERE = """\
[base]
image = "python:3.11-slim"
packages = ["python3-venv", "tini"]
[targets.cpu]
[groups.core]
requirements = ["fromgit @ git+http://{host}/fromgit@main", "layerline-test-sdist"]
[images.app]
target = "cpu"
groups = ["core"]
source = ["layerline.toml"]
"""


def write_package(place: Path, name: str) -> None:
    """A project whose build says what it can reach, and differs each time."""
    values = f'NAME, REQUIRES = "{name}", ""\nCOMMAND = MODULE = "{name}"\n'
    main = MAIN.replace('"REACH")', '"REACH", WHEN)')
    place.mkdir(parents=True)
    (place / "pyproject.toml").write_text(PYPROJECT)
    (place / "backend.py").write_text(BACKEND.replace('"REACH", reach()', NOW) + values)
    (place / "module.py").write_text(main)
    info = f"Metadata-Version: 2.2\nName: {name.replace('_', '-')}\nVersion: 1.0\n"
    (place / "PKG-INFO").write_text(info)


NOW = '"REACH", reach()).replace("WHEN", str(__import__("time").time_ns())'


def test_what_has_a_commit_or_a_source_alone_is_built_once_without_a_network(
    tmp_path: Path, project: Project
) -> None:
    write_package(tmp_path / "git" / "fromgit", "fromgit")
    write_package(tmp_path / "layerline_test_sdist-1.0", "layerline_test_sdist")
    home = tmp_path / "home"
    (home / "locks").mkdir(parents=True)
    (home / "wheels").mkdir()
    archive = home / "wheels" / "layerline_test_sdist-1.0.tar.gz"
    command.run(["tar", "-czf", archive, "-C", tmp_path, "layerline_test_sdist-1.0"])
    other = Project(home=home, environ=project.environ)
    commit = git_server.commit(tmp_path / "git" / "fromgit")
    with git_server.serve(tmp_path / "git") as host:
        (home / "layerline.toml").write_text(FROM_ELSEWHERE.format(host=host))
        # A port of this machine is reached by a module if the command line names it.
        named = f"--extra-index-url=http://{host}/none"
        locked = call(other, named, "lock", "--target=cpu", "export", "--path=locks/cpu.txt")
        assert "layerline-test-sdist has no wheel: built with" in succeeded(locked).stderr
        text = (home / "locks" / "cpu.txt").read_text()
        assert f"fromgit @ git+http://{host}/fromgit@{commit}\n" in text
        done = call(other, named, "build", "--image=app", "export", "--path=app.tar")
        for name in ("fromgit", "layerline-test-sdist"):
            said = f"warning: {name}==1.0 differs from build to build"
            # Locking built it, and the build takes it from there.
            assert said in locked.stderr
            assert said not in succeeded(done).stderr
        for line in text.splitlines():
            assert not line.startswith("setuptools==")  # what builds is in comments
        code = "import fromgit, layerline_test_sdist as s; fromgit.main(); s.main()"
        chain = ("call", "container", "import", "--source=app.tar")
        words = ("with-exec", "--args", f'python,-c,"{code}"', "stdout")
        ran = succeeded(other.call("--no-mod", *chain, *words, timeout=LONGEST_SECONDS)).stdout
        assert ran.count(" ENETUNREACH2 ") == 2
        # What differs from build to build is the wheel of the lock, or it is refused.
        assert len(re.findall(r"^# wheel: [a-z-]+ sha256:[0-9a-f]{64}$", text, re.MULTILINE)) == 2
        altered = re.sub(r"(?<=# wheel: fromgit sha256:)\w+", "0" * 64, text)
        (home / "locks" / "cpu.txt").write_text(altered)
        refused = call(other, named, "build", "--image=app")
        assert refused.status == 1
        assert "fromgit==1.0 differs from build to build: the lock has the wheel" in refused.stderr
        (home / "locks" / "cpu.txt").write_text(text)
        # Kept: another image with the same packages has the same wheels.
        toml = FROM_ELSEWHERE.format(host=host).replace("[images.app]", "[images.again]")
        (home / "layerline.toml").write_text(toml)
        succeeded(call(other, named, "build", "--image=again", "export", "--path=again.tar"))
    assert manifest(home / "again.tar")[1][:-1] == manifest(home / "app.tar")[1][:-1]


EXTENSION = """\
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *where(PyObject *self, PyObject *args) {
    return PyUnicode_FromString(__FILE__ " " __DATE__);
}
static PyMethodDef methods[] = {{"where", where, METH_NOARGS, ""}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "extension", "", -1, methods};
PyMODINIT_FUNC PyInit_extension(void) { return PyModule_Create(&module); }
"""
SETUP = """\
import os
from setuptools import Extension, setup
# By its whole path, as CMake compiles: what the prefix maps are for.
source = os.path.relpath("extension.c")
flags = ["-g", "-include", os.path.abspath("here.h")]
extensions = [Extension("extension", [source], extra_compile_args=flags)]
setup(name="layerline-test-c", version="1.0", ext_modules=extensions)
"""


def test_an_extension_in_c_is_the_same_in_each_build(tmp_path: Path, project: Project) -> None:
    source = tmp_path / "layerline_test_c-1.0"
    source.mkdir()
    (source / "setup.py").write_text(SETUP)
    (source / "extension.c").write_text(EXTENSION)
    (source / "here.h").write_text("static const char *here = __FILE__;\n")
    home = tmp_path / "home"
    (home / "locks").mkdir(parents=True)
    (home / "wheels").mkdir()
    archive = home / "wheels" / f"{source.name}.tar.gz"
    command.run(["tar", "-czf", archive, "-C", tmp_path, source.name])
    packages = '"python3-venv", "tini"]'
    compiler = 'build_packages = ["gcc", "libc6-dev", "python3-dev"]'
    toml = OF_THE_INDEX.replace("langdetect==1.0.9", "layerline-test-c")
    (home / "layerline.toml").write_text(toml.replace(packages, f"{packages}\n{compiler}"))
    other = Project(home=home, environ=project.environ)
    succeeded(call(other, "lock", "--target=cpu", "export", "--path=locks/cpu.txt"))
    # It was built twice (gcc(1): SOURCE_DATE_EPOCH, -ffile-prefix-map), and no wheel is recorded.
    text = (home / "locks" / "cpu.txt").read_text()
    assert "# from source: layerline-test-c with setuptools\n" in text
    assert "# wheel: " not in text
    succeeded(call(other, "build", "--image=app", "export", "--path=app.tar"))
    code = (
        "import extension, pathlib; print(extension.where());"
        "print(b'/tmp/build' in pathlib.Path(extension.__file__).read_bytes())"
    )
    words = ("with-exec", "--args", f'python,-c,"{code}"', "stdout")
    chain = ("call", "container", "import", "--source=app.tar")
    ran = succeeded(other.call("--no-mod", *chain, *words, timeout=LONGEST_SECONDS)).stdout
    assert ran == "extension.c Jan  1 1980\nFalse\n"


def test_a_pylock_with_a_commit_is_read_back(tmp_path: Path, project: Project) -> None:
    write_package(tmp_path / "git" / "fromgit", "fromgit")
    home = tmp_path / "home"
    (home / "locks").mkdir(parents=True)
    other = Project(home=home, environ=project.environ)
    commit = git_server.commit(tmp_path / "git" / "fromgit")
    with git_server.serve(tmp_path / "git") as host:
        toml = FROM_ELSEWHERE.format(host=host).replace(', "layerline-test-sdist"', "")
        (home / "layerline.toml").write_text(toml)
        named = f"--extra-index-url=http://{host}/none"
        words = ("lock", "--target=cpu", "--format=pylock", "export", "--path=pylock.cpu.toml")
        done = succeeded(called(other, named, *words))
        assert "wheel: fromgit-1.0-py3-none-any.whl" in done.stderr
        assert f'commit-id = "{commit}"' in (home / "pylock.cpu.toml").read_text()
        toml = toml.replace("[targets.cpu]", '[targets.cpu]\nlock = "pylock.cpu.toml"')
        (home / "layerline.toml").write_text(re.sub(r"fromgit @ [^\"]+", "fromgit", toml))
        locked = ("lock", "--target=cpu", "export", "--path=locks/cpu.txt")
        succeeded(called(other, named, *locked))
        text = (home / "locks" / "cpu.txt").read_text()
        assert "# version: fromgit 1.0\n" in text
        recorded = re.search(rf"# wheel: fromgit sha256:(\w+) from {commit}\n", text)
        assert recorded
        assert "fromgit @ " not in text
        succeeded(called(other, named, "build", "--image=app", "export", "--path=app.tar"))
        # The commit moves under the same version: the wheel of the earlier one is not its own.
        (tmp_path / "git" / "fromgit" / "NOTES").write_text("newer\n")
        newer = git_server.commit(tmp_path / "git" / "fromgit")
        theirs = (home / "pylock.cpu.toml").read_text()
        (home / "pylock.cpu.toml").write_text(theirs.replace(commit, newer))
        succeeded(called(other, named, *locked))
        text = (home / "locks" / "cpu.txt").read_text()
        again = re.search(rf"# wheel: fromgit sha256:(\w+) from {newer}\n", text)
        assert again
        assert again[1] != recorded[1]


SCM = """\
[build-system]
requires = ["setuptools", "setuptools-scm"]
build-backend = "setuptools.build_meta"
[project]
name = "fromgit"
dynamic = ["version"]
[tool.setuptools]
py-modules = ["fromgit"]
[tool.setuptools_scm]
"""


def test_the_version_of_a_commit_is_that_which_git_says(tmp_path: Path, project: Project) -> None:
    """setuptools-scm's default schemes: guess-next-dev, node-and-date (Version Schemes).

    https://setuptools-scm.readthedocs.io/en/latest/extending/#setuptools_scmversion_scheme
    """
    place = tmp_path / "git" / "fromgit"
    place.mkdir(parents=True)
    (place / "pyproject.toml").write_text(SCM)
    (place / "fromgit.py").write_text("")
    git_server.commit(place, "v1.2.3")
    (place / "fromgit.py").write_text("def main():\n    print('fine')\n")
    commit = git_server.commit(place)
    home = tmp_path / "home"
    (home / "locks").mkdir(parents=True)
    other = Project(home=home, environ=project.environ)
    with git_server.serve(tmp_path / "git") as host:
        toml = FROM_ELSEWHERE.format(host=host).replace(', "layerline-test-sdist"', "")
        (home / "layerline.toml").write_text(toml)
        named = f"--extra-index-url=http://{host}/none"
        locked = ("lock", "--target=cpu", "export", "--path=locks/cpu.txt")
        succeeded(called(other, named, *locked))
        text = (home / "locks" / "cpu.txt").read_text()
        [version] = re.findall(r"^# version: fromgit (\S+)$", text, re.MULTILINE)
        release, _, node = version.partition("+g")
        assert release == "1.2.4.dev1"
        assert node
        assert commit.startswith(node)
        # The commit stays, and with it the version, for which git is not asked again.
        succeeded(called(other, named, *locked))
        assert (home / "locks" / "cpu.txt").read_text() == text
        succeeded(called(other, named, "build", "--image=app", "export", "--path=app.tar"))


OF_THE_INDEX = """\
[base]
image = "python:3.11-slim"
packages = ["python3-venv", "tini"]
[targets.cpu]
[groups.core]
requirements = ["langdetect==1.0.9"]
[images.app]
target = "cpu"
groups = ["core"]
source = ["layerline.toml"]
"""


def test_a_pylock_is_one_of_uv_and_comes_back_with_what_has_no_wheel(
    tmp_path: Path, project: Project
) -> None:
    home = tmp_path / "home"
    (home / "locks").mkdir(parents=True)
    (home / "layerline.toml").write_text(OF_THE_INDEX)
    other = Project(home=home, environ=project.environ)
    words = ("lock", "--target=cpu", "--format=pylock", "export", "--path=pylock.cpu.toml")
    first = succeeded(called(other, *words))
    assert "wheel: langdetect-1.0.9-py3-none-any.whl" in first.stderr
    uv = Path(sys.executable).with_name("uv")
    command.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"])
    argv = [str(uv), "pip", "install", "--dry-run", f"--python={tmp_path / 'venv'}"]
    said = command.run([*argv, "-r", "pylock.cpu.toml"], cwd=home, env=process_environ()).stderr
    assert b" + langdetect==1.0.9\n" in said
    text = OF_THE_INDEX.replace("[targets.cpu]", '[targets.cpu]\nlock = "pylock.cpu.toml"')
    (home / "layerline.toml").write_text(text)
    done = succeeded(called(other, "lock", "--target=cpu", "export", "--path=locks/cpu.txt"))
    assert "langdetect has no wheel: built with setuptools>=40.8.0" in done.stderr
    assert "langdetect==" not in (home / "locks" / "cpu.txt").read_text()
    succeeded(called(other, "build", "--image=app", "export", "--path=app.tar"))
