"""A module whose process runs the probe."""

import contextlib
import io
import sys

from dagger import function, object_type


@object_type
class Probe:
    """Code of a stranger."""

    @function
    def look(self, code: str, port: int, digest: str, file: str) -> str:
        """What the module's code can see and do."""
        sys.argv = ["probe.py", str(port), digest, file]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, {"__name__": "__main__"})
        return printed.getvalue()
