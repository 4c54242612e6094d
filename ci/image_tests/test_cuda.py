"""The training image for NVIDIA GPUs: all of it where there is one, and else all but the driver."""

from __future__ import annotations

import ctypes
import importlib
import os
from importlib.metadata import distribution
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import torch

GPU = os.environ["TEST_GPU"] == "1"
CUDA = 13
LIBRARIES = ["libcudart.so.13", "libcublas.so.13", "libcudnn.so.9", "libcusparse.so.12"]

needs_gpu = pytest.mark.skipif(not GPU, reason="no GPU was given; ask with --gpu")


@pytest.mark.parametrize("name", ["torch", "torchvision", "torchaudio", "jax", "cv2", "lightning"])
def test_it_is_imported(name: str) -> None:
    importlib.import_module(name)


def test_torch_is_built_for_cuda() -> None:
    assert str(torch.version.cuda).startswith(f"{CUDA}.")
    assert torch.backends.cuda.is_built()


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_libraries_of_cuda_are_loaded_without_a_driver(name: str) -> None:
    ctypes.CDLL(str(library(name)))


def test_the_runtime_tells_its_version_without_a_driver() -> None:
    version = ctypes.c_int()
    runtime = ctypes.CDLL(str(library("libcudart.so.13")))
    assert runtime.cudaRuntimeGetVersion(ctypes.byref(version)) == 0
    assert version.value // 1000 == CUDA


def test_the_plugin_of_jax_is_there() -> None:
    assert distribution("jax-cuda13-plugin").version == jax.__version__


def test_a_step_is_made_on_the_cpu() -> None:
    assert step_changes_weights("cpu")
    assert float(jax.grad(lambda x: jnp.sum(x**2))(jnp.ones(2))[0]) == 2.0


@needs_gpu
def test_a_step_is_made_on_the_gpu() -> None:
    assert step_changes_weights("cuda")
    assert jax.devices("gpu")


def step_changes_weights(device: str) -> bool:
    """Whether a step of a small network changes its weights."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(3)
    )
    network.to(device)
    images = torch.rand(8, 1, 16, 16, device=device)
    loss = torch.nn.functional.cross_entropy(network(images), torch.arange(8, device=device) % 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = [each.detach().clone() for each in network.parameters()]
    loss.backward()
    optimizer.step()
    after = zip(before, network.parameters(), strict=True)
    return all(not torch.equal(old, new) for old, new in after)


def library(name: str) -> Path:
    """A library of the wheels, wherever they have put it."""
    place = Path(str(distribution("torch").locate_file("nvidia")))
    return next(iter(sorted(place.rglob(name))))
