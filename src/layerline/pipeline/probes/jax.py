"""Runs inside the image after the jax group: JAX computes, and its CUDA plugin has its version.

The plugin is looked at, never loaded: without a GPU it crashes the process.
The caller sets JAX_PLATFORMS=cpu.
"""

import importlib.metadata
import importlib.util
import sys

import jax
import jax.numpy as jnp

cuda = sys.argv[1] if len(sys.argv) > 1 else ""
if cuda:
    for part in ("plugin", "pjrt"):
        version = importlib.metadata.version(f"jax-cuda{cuda}-{part}")
        assert version == jax.__version__, f"jax {jax.__version__} with its CUDA {part} {version}"
    assert importlib.util.find_spec(f"jax_cuda{cuda}_plugin"), "the CUDA plugin has no module"

assert {device.platform for device in jax.devices()} == {"cpu"}
slope = jax.jit(jax.grad(lambda x: jnp.sum(x**3)))(jnp.array([1.0, 2.0]))
assert slope.tolist() == [3.0, 12.0]
matrix = jax.random.normal(jax.random.key(0), (16, 16))
assert jnp.allclose(jnp.linalg.inv(matrix) @ matrix, jnp.eye(16), atol=1e-3)

print("jax", jax.__version__, "jaxlib", importlib.metadata.version("jaxlib"))
