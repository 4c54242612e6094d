"""Starts a command in an image and says how long it took.

    start.py WAIT COMMAND [ARGUMENT ...]

WAIT is `exit`, or a URL that answers with 200 once the command is ready; it is ended then. Prints
wall and processor seconds, and the most memory in bytes, as JSON.
"""

import json
import resource
import subprocess
import sys
import time
import urllib.request

LONGEST_SECONDS = 600.0
PAUSE_SECONDS = 0.02


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    """Return once a URL answers with 200."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=LONGEST_SECONDS).close()
        except OSError:  # nobody listens yet, or 503
            time.sleep(PAUSE_SECONDS)
        else:
            return
    sys.exit(f"{url} did not answer with 200; the command's exit code is {process.poll()}")


if __name__ == "__main__":
    until, *argv = sys.argv[1:]
    began = time.monotonic()
    with subprocess.Popen(argv, stdout=sys.stderr) as started:
        if until == "exit":
            code = started.wait()
        else:
            wait_for(until, started)
            code = 0
        seconds = time.monotonic() - began
        started.terminate()
    if code:
        sys.exit(f"the command ended with exit code {code}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "seconds": round(seconds, 3),
        "processor": round(used.ru_utime + used.ru_stime, 3),
        "memory": used.ru_maxrss * 1024,
    }
    print(json.dumps(found))
