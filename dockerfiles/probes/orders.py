"""PyTorch and JAX work in one process, whichever of them is imported first."""

import importlib.util
import subprocess
import sys

USE = {
    "torch": "import torch; assert torch.ones(3).sum().item() == 3",
    "jax": "import jax.numpy; assert float(jax.numpy.ones(3).sum()) == 3",
}

here = [name for name in USE if importlib.util.find_spec(name)]
for order in (here, here[::-1]):
    text = "\n".join(USE[name] for name in order)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr)
        sys.exit(f"{' and then '.join(order)}: exit code {done.returncode}")
print(f"fine: {', '.join(here) or 'neither is here'}")
