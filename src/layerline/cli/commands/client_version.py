"""The version of the SDK that a session is for: an old one is served what it knows.

Dagger's CLI takes its own version for that of the client, which `session --version` and a variable
replace; SDKs download the CLI of their version. This one serves all versions, so the label with
which an SDK starts its session counts too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.engine.api.schema import schema_of_view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from layerline.cli.console import Console
    from layerline.engine.api.session import Session

# DaggerVersionEnv of Dagger's engine/version.go.
_VARIABLE = "_EXPERIMENTAL_DAGGER_VERSION"
_LABEL = "dagger.io/sdk.version:"


def serve_client_version(
    console: Console, served: Session, *, given: str = "", labels: Iterable[str] = ()
) -> None:
    """Serve the main client the schema of its version: `given`, in the environment or labelled."""
    labelled = [label.removeprefix(_LABEL) for label in labels if label.startswith(_LABEL)]
    version = given or console.settings.environ.get(_VARIABLE) or next(iter(labelled), "")
    served.main.schema = schema_of_view(version)
