"""The application that the environment describes, for `uvicorn ct_scan_mlops.serving.api:app`.

`python -m ct_scan_mlops.serving` serves the same one, and bounds its connections too.
"""

from ct_scan_mlops.serving.application import create_app
from ct_scan_mlops.settings import ServingSettings, environment

__all__ = ["app", "create_app"]

app = create_app(ServingSettings.from_environ(environment()))
