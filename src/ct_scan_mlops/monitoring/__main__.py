"""Serves the drift API as the environment says: `python -m ct_scan_mlops.monitoring`."""

import signal
import sys
from types import FrameType

GRACE_SECONDS = 6


def main() -> int:
    # Here, since the process that makes reports runs this module too, under another name.
    from ct_scan_mlops.errors import SettingsInvalid
    from ct_scan_mlops.monitoring.application import create_app
    from ct_scan_mlops.settings import DriftSettings, environment
    from ct_scan_mlops.web import running
    from ct_scan_mlops.web.connections import BoundedConnection

    try:
        settings = DriftSettings.from_environ(environment())
    except SettingsInvalid as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    signal.signal(signal.SIGTERM, _end)
    running.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        connection=BoundedConnection,
        grace_seconds=GRACE_SECONDS,
    )
    return 0


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Being asked to end is no failure: uvicorn raises the signal anew once it has finished."""
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
