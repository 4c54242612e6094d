"""Prints as JSON what compiled packages depend on: the ABI of Python, and the C library."""

import json
import os
import sysconfig


def _c_library() -> str:
    """Name and version, which only glibc tells; `other` for another one."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "other"
    except ValueError:
        return "other"


if __name__ == "__main__":
    print(
        json.dumps(
            {
                "Python": sysconfig.get_python_version(),
                "ABI of extension modules": sysconfig.get_config_var("SOABI"),
                "C library": _c_library(),
            }
        )
    )
