"""Checks that no CUDA library is installed twice.

Two cuDNNs in one process make either framework fail, depending on which was imported first.
"""

import pathlib
import re
import sys

NAME = re.compile(r"lib(cudnn|cublas)\w*\.so\.\d+$")

places: dict[str, list[str]] = {}
for path in sorted(pathlib.Path(sys.prefix).rglob("lib*.so.*")):
    if NAME.match(path.name) and path.is_file() and not path.is_symlink():
        places.setdefault(path.name, []).append(str(path.relative_to(sys.prefix)))
twice = [f"{name}: {', '.join(found)}" for name, found in places.items() if len(found) > 1]
majors = {
    family: sorted({name.rpartition(".")[2] for name in places if name.startswith(family + ".so")})
    for family in ("libcudnn", "libcublas")
}
twice += [f"{name} in versions {', '.join(them)}" for name, them in majors.items() if len(them) > 1]
if twice:
    sys.exit("\n".join(twice))
print(" ".join(places) or "none there")
