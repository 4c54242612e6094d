"""Each package is installed in the version that the lock has.

versions.py NAME==VERSION ...
"""

import importlib.metadata
import sys

wrong = []
for pin in sys.argv[1:]:
    name, _, version = pin.partition("==")
    try:
        found = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        found = "not installed"
    if found != version:
        wrong.append(f"{name} is {found}, locked is {version}")
if wrong:
    sys.exit("\n".join(wrong))
print(f"{len(sys.argv) - 1} as locked")
