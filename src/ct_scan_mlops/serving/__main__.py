"""Serves the inference API, as the environment describes it: `python -m ct_scan_mlops.serving`."""

import logging
import os
import resource
import signal
import sys
from types import FrameType

from ct_scan_mlops.errors import SettingsInvalid
from ct_scan_mlops.serving.application import create_app
from ct_scan_mlops.serving.connections import UploadConnection
from ct_scan_mlops.settings import ServingSettings, environment
from ct_scan_mlops.web import running

# Cloud Run kills ten seconds after SIGTERM; what remains is for closing.
GRACE_SECONDS = 7
# A thread that computes holds the interpreter this long before the loop gets its turn, and the loop
# needs several turns for each request.
SWITCH_SECONDS = 0.0005


def main() -> int:
    try:
        settings = ServingSettings.from_environ(environment())
    except SettingsInvalid as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    # It logs each byte that is wrong in what anybody sends.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, _end)
    sys.setswitchinterval(SWITCH_SECONDS)
    _allow_all_descriptors()
    running.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        connection=UploadConnection,
        grace_seconds=GRACE_SECONDS,
    )
    return 0


def _end(_signal: int, _frame: FrameType | None) -> None:
    """End at once: before uvicorn takes over there is nothing to finish, nor when it has finished.

    It raises the signal anew then. Being asked to end is no failure, and taking torch apart in
    order can take seconds that are not left.
    """
    os._exit(0)


def _allow_all_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
