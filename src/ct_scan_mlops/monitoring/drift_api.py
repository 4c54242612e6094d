"""The application that the environment describes: `uvicorn ct_scan_mlops.monitoring.drift_api:app`.

`python -m ct_scan_mlops.monitoring` serves the same one, and bounds its connections too.
"""

from ct_scan_mlops.monitoring.application import create_app
from ct_scan_mlops.settings import DriftSettings, environment

__all__ = ["app", "create_app"]

app = create_app(DriftSettings.from_environ(environment()))
