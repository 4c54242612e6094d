"""No file belongs to two packages."""

import importlib.metadata
import sys

owners: dict[str, str] = {}
wrong = []
for distribution in importlib.metadata.distributions():
    name = distribution.metadata["Name"]
    for file in distribution.files or ():
        path = str(file)
        if path.endswith(".pyc"):
            continue
        other = owners.setdefault(path, name)
        if other != name and (file.size or 0) > 0:
            wrong.append(f"{path} belongs to {other} and to {name}")
if wrong:
    sys.exit("\n".join(sorted(wrong)[:50]))
print(f"{len(owners)} files")
