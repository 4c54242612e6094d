"""Prints the lines of a lock that pin the given packages.

slice.py LOCK PACKAGE ... > REQUIREMENTS
"""

import pathlib
import re
import sys

if __name__ == "__main__":
    text = pathlib.Path(sys.argv[1]).read_text()
    for block in re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE):
        name = re.split(r"[=\[]", block, maxsplit=1)[0]
        if re.sub(r"[-_.]+", "-", name).lower() in sys.argv[2:]:
            lines = [line for line in block.splitlines() if not line.lstrip().startswith("#")]
            print("\n".join(filter(None, lines)))
