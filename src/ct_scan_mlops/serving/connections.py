"""Connections that refuse an upload for which there is no place by its first bytes.

Under a flood each refusal by a route costs half a millisecond, for a thousand of which /health
would wait in line.
"""

from typing import Final

import h11

from ct_scan_mlops.serving.uploads import PREDICT
from ct_scan_mlops.web.admission import PLACES, WAITING
from ct_scan_mlops.web.connections import BoundedConnection

UPLOAD: Final = f"POST {PREDICT}".encode()
REFUSED_UNREAD: Final = "refused unread"
"""The key in the lifespan's state under which there is a function to count such refusals with."""


class UploadConnection(BoundedConnection):
    """A connection of the inference API."""

    def is_one_too_many(self, data: bytes) -> bool:
        """Asks only at the start of a request: a body may well contain these bytes."""
        starts = self.conn.their_state is h11.IDLE and self.conn.trailing_data == (b"", False)
        refused = starts and data.startswith(UPLOAD) and len(self.tasks) >= PLACES + WAITING
        if refused:
            self.app_state[REFUSED_UNREAD]()
        return refused
