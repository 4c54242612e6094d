"""Requirements of the real index that cannot be together are refused quickly, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.settings import process_environ
from tests.images import cache_directory, serve
from tests.integration.test_layers import call, environment, repository

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.privileged, pytest.mark.network, pytest.mark.slow]

LONGEST_REFUSAL_SECONDS = 30.0
DEFINITION = """\
[base]
image = "python:3.11-slim"
packages = ["python3-venv", "tini"]
[targets.cpu]
[groups.core]
requirements = ["CORE", "scipy", "pandas", "scikit-learn", "scikit-image", "pillow"]
[groups.pytorch]
requirements = ["TORCH", "torchvision", "lightning"]
[groups.jax]
requirements = ["JAX"]
[images.small]
target = "cpu"
groups = ["core", "pytorch", "jax"]
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory, registry: str) -> dict[str, str]:
    """A home and a store of this module's own, where the base has been made and nothing else."""
    serve(registry, cache_directory(process_environ()))
    own = environment(tmp_path_factory.mktemp("home"), registry)
    small = repository(tmp_path_factory.mktemp("warm"), own)
    assert call(small, "lock", "--target=cpu", "size").status == 0
    return own


@pytest.mark.parametrize(
    ("core", "torch", "jax", "clash", "because"),
    [
        (
            *("numpy", "torch==2.6.0", "jax[cuda12]==0.7.*"),
            "  jax: jax[cuda12]==0.7.*\n  pytorch: torch==2.6.0\n",
            "nvidia-cudnn-cu12",
        ),
        (
            *("numpy<2", "torch==2.14.*", "jax==0.10.*"),
            "  core: numpy<2\n  jax: jax==0.10.*\n",
            "depends on numpy>=2.0",
        ),
    ],
)
def test_they_are_named_with_the_reason_and_with_what_would_resolve(
    core: str,
    torch: str,
    jax: str,
    clash: str,
    because: str,
    tmp_path: Path,
    environ: dict[str, str],
) -> None:
    text = DEFINITION.replace("CORE", core).replace("TORCH", torch).replace('"JAX"', f'"{jax}"')
    done = call(repository(tmp_path, environ, text), "lock", "--target=cpu", "size")
    assert done.status != 0
    assert f"These requirements conflict:\n{clash}because\n" in done.stderr
    assert because in "\n".join(done.error)
    assert "To resolve it:\n  - " in done.stderr
    assert done.seconds < LONGEST_REFUSAL_SECONDS
