"""Every command is on the PATH.

commands.py COMMAND ...
"""

import shutil
import sys

found = {name: shutil.which(name) for name in sys.argv[1:]}
if lacking := [name for name, path in found.items() if path is None]:
    sys.exit(f"not on the PATH: {', '.join(lacking)}")
print(" ".join(str(path) for path in found.values()))
