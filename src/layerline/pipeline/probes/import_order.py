"""PyTorch and JAX work in one process, whichever of them is imported first."""

import concurrent.futures
import importlib.util
import subprocess
import sys

USE = {
    "torch": "import torch; assert torch.ones(3).sum().item() == 3",
    "jax": "import jax.numpy; assert float(jax.numpy.ones(3).sum()) == 3",
}


def failure(order: list[str]) -> str:
    """What imports in one order end with; nothing where they work."""
    text = "\n".join(USE[name] for name in order)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    return f"{done.stderr}{' and then '.join(order)}: exit code {done.returncode}"


here = [name for name in USE if importlib.util.find_spec(name)]
orders = [here, here[::-1]] if len(here) > 1 else [here]
with concurrent.futures.ThreadPoolExecutor() as pool:
    failures = list(filter(None, pool.map(failure, orders)))
if failures:
    sys.exit("\n".join(failures))
print(f"fine: {', '.join(here) or 'neither is here'}")
