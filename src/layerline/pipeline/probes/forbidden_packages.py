"""No package whose name matches a pattern is installed.

absent.py PATTERN ...
"""

import fnmatch
import importlib.metadata
import sys

names = sorted(each.metadata["Name"].lower() for each in importlib.metadata.distributions())
wrong = [name for name in names if any(fnmatch.fnmatchcase(name, p) for p in sys.argv[1:])]
if wrong:
    sys.exit(f"these do not belong into this image: {', '.join(wrong)}")
print(f"none of {len(names)} packages")
