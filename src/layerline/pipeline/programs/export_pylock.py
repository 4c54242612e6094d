"""Prints the packages of a lock as a pylock.toml (PEP 751).

    export_pylock.py UV [ARGUMENT ...]

Runs UV with the arguments and those of the file /mnt/arguments, one in each line; it reads the
requirements from stdin. If $OFFLINE is not empty, only the cache is used.
"""

import os
import pathlib
import subprocess
import sys

ARGUMENTS = pathlib.Path("/mnt/arguments")

if __name__ == "__main__":
    if bundle := os.environ.get("CA_BUNDLE"):
        os.environ.update(SSL_CERT_FILE=bundle, PIP_CERT=bundle)
    pages = os.environ.get("INDEX_PAGES", "").split()
    argv = [*sys.argv[1:], *ARGUMENTS.read_text().split()]
    argv += [f"--find-links={page}" for page in pages]
    argv += ["--offline"] if os.environ.get("OFFLINE") else []
    sys.exit(subprocess.run([*argv, "-"], check=False).returncode)
