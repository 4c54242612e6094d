"""`python3 -m layerline.doctor`, and what the launcher runs before anything is set up."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from layerline.doctor.main import run_doctor


def main() -> NoReturn:
    """Run the doctor's command line of this process."""
    sys.exit(run_doctor(sys.argv[1:], os.environ, tool=_tool()))


def _tool() -> tuple[str, ...]:
    """Layerline in the environment that the launcher has made, if it has."""
    python = Path(__file__).parents[3] / ".venv/bin/python"
    return (str(python), "-I", "-m", "layerline") if os.access(python, os.X_OK) else ()


if __name__ == "__main__":
    main()
