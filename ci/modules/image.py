"""The steps of an image, each from one container to the next."""

from collections.abc import Sequence

import dagger
from dagger import dag

from ci.modules.group import INSTALLER, OVERRIDES, Group
from ci.modules.target import Target
from ci.modules.wheels import Wheels

BASE = "debian:bookworm-slim"
PACKAGES = ("ca-certificates", "libgomp1", "python3", "python3-venv", "tini")
VENV = "/opt/venv"
PYTHON = f"{VENV}/bin/python"
PATH = f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
APT_CACHE = "/var/cache/apt"
UV_CACHE = "/mnt/uv"
APP = "/app"
USER = "app"
OUTPUTS = ("checkpoints", "logs", "reports", "profiling", "sweeps")

PIP_INSTALL = (
    *(PYTHON, "-m", "pip", "install", "--quiet", "--no-compile"),
    *("--no-deps", "--require-hashes", "--only-binary=:all:"),
)
UV_INSTALL = (
    *("uv", "pip", "install", f"--python={PYTHON}", f"--cache-dir={UV_CACHE}", "--link-mode=copy"),
    *("--no-deps", "--require-hashes", "--only-binary=:all:"),
)
UV_COMPILE = (
    *("uv", "pip", "compile", f"--python={PYTHON}", f"--cache-dir={UV_CACHE}", "--quiet"),
    *("--generate-hashes", "--only-binary=:all:", "--annotation-style=line", "--no-header"),
    *("--no-emit-index-url", "--no-emit-find-links"),
)

# Debian's images throw downloaded packages away, which would leave nothing in the cache volume.
INSTALL_PACKAGES = f"""\
set -eu
rm -f /etc/apt/apt.conf.d/docker-clean
apt-get update --quiet
apt-get install --yes --quiet --no-install-recommends \\
    -o APT::Keep-Downloaded-Packages=true {" ".join(PACKAGES)}
useradd --uid 1000 --user-group --create-home --shell /bin/bash {USER}
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache
"""


def base(target: Target, wheels: Wheels, installer: str) -> dagger.Container:
    """Debian with Python, the run user, and a virtual environment that holds the locked uv."""
    cache = "/root/.cache/pip"
    return (
        dag.container()
        .from_(BASE)
        .with_env_variable("DEBIAN_FRONTEND", "noninteractive")
        .with_mounted_cache(
            APT_CACHE,
            dag.cache_volume(f"apt-cache-{target.value}-v2"),
            sharing=dagger.CacheSharingMode.LOCKED,
        )
        .with_exec(["sh", "-c", INSTALL_PACKAGES])
        .without_mount(APT_CACHE)
        .without_env_variable("DEBIAN_FRONTEND")
        .with_env_variable("PATH", PATH)
        .with_env_variable("PYTHONDONTWRITEBYTECODE", "1")
        .with_env_variable("PYTHONUNBUFFERED", "1")
        .with_exec(["python3", "-m", "venv", VENV])
        .with_mounted_cache(cache, dag.cache_volume(INSTALLER.volume(target)))
        .with_(wheels.mounted)
        .with_exec(
            [*PIP_INSTALL, *wheels.arguments(), "--requirement=/dev/stdin"],
            stdin=installer,
        )
        .with_(wheels.unmounted)
        .without_mount(cache)
    )


def with_group(
    container: dagger.Container, group: Group, *, target: Target, wheels: Wheels, requirements: str
) -> dagger.Container:
    """Install a group's locked requirements, and fail unless its check succeeds."""
    return (
        container.with_mounted_cache(UV_CACHE, dag.cache_volume(group.volume(target)))
        .with_(wheels.mounted)
        .with_exec(
            [*UV_INSTALL, *wheels.arguments(), "--requirements=-"],
            stdin=requirements,
        )
        .with_(wheels.unmounted)
        .without_mount(UV_CACHE)
        .with_(lambda installed: checked(installed, group, target))
    )


def checked(container: dagger.Container, group: Group, target: Target) -> dagger.Container:
    """Run a group's check; what it writes beside its answer goes into a temporary home.

    JAX is kept off its CUDA plugin, which crashes where there is no GPU.
    """
    home = "/tmp"
    return (
        container.with_mounted_temp(home)
        .with_exec(
            ["env", f"HOME={home}", "JAX_PLATFORMS=cpu", PYTHON, "-", target.cuda],
            stdin=group.check(),
        )
        .without_mount(home)
    )


def with_directories(container: dagger.Container) -> dagger.Container:
    """The directories that a run fills: made here and never copied, owned by the run user."""
    directories = [f"{APP}/outputs/{name}" for name in OUTPUTS]
    owned = ["install", "-d", "-o", USER, "-g", USER]
    return container.with_exec([*owned, APP, f"{APP}/data", f"{APP}/outputs", *directories])


def with_source(container: dagger.Container, source: dagger.Directory) -> dagger.Container:
    """The project's source: last, so that a change of it runs nothing before it again."""
    return container.with_directory(APP, source, owner=f"{USER}:{USER}")


def configured(container: dagger.Container, *, title: str, target: Target) -> dagger.Container:
    """How the image starts, and what it says of itself."""
    return (
        container.with_workdir(APP)
        .with_user(USER)
        .with_entrypoint(["tini", "--"])
        .with_default_args(["python"])
        .with_label("org.opencontainers.image.title", title)
        .with_label("org.opencontainers.image.base.name", BASE)
        .with_label("layerline.target", target.value)
    )


def resolved(
    container: dagger.Container,
    requirements: Sequence[str],
    *,
    target: Target,
    wheels: Wheels,
    current: str,
) -> dagger.File:
    """The joint resolution of all requirements, as near to the current lock as they allow."""
    lock = "/mnt/lock.txt"
    overrides = "/mnt/overrides.txt"
    return (
        container.with_mounted_cache(UV_CACHE, dag.cache_volume(INSTALLER.volume(target)))
        .with_(wheels.mounted)
        .with_new_file(lock, current)
        .with_new_file(overrides, OVERRIDES)
        .with_exec(
            [
                *UV_COMPILE,
                *wheels.arguments(),
                f"--override={overrides}",
                f"--output-file={lock}",
                "-",
            ],
            stdin="\n".join(requirements) + "\n",
        )
        .file(lock)
    )
