"""Gets the model ready, in a thread of its own, and says at each moment how far that is.

There torch is imported too, so that /health answers within a fraction of the cold start. What is
missing may be mounted or trained later: it is tried again, at growing intervals. Once a model is
loaded it stays: a file that changes afterwards is reported, and a restart serves it.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic

from ct_scan_mlops.serving.local import Fingerprint, fingerprint
from ct_scan_mlops.serving.remote import is_remote, shown
from ct_scan_mlops.serving.states import Ready, State, Waiting
from ct_scan_mlops.settings import ServingSettings
from ct_scan_mlops.web.missing import Missing

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 15.0

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Loading:
    """The thread. `state` is replaced as a whole: whoever reads it sees one moment."""

    settings: ServingSettings
    on_ready: Callable[[], None] = field(default=lambda: None)
    state: State = field(default_factory=Waiting)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        # A daemon, so that a download that hangs does not keep the process from ending.
        threading.Thread(target=self._run, name="loading", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        if self.settings.model_path is None:
            self._publish(Waiting(missing=(_UNSET,)))
            return
        finished = False
        try:
            self._load_and_watch(self.settings.model_path)
            finished = True
        finally:
            # Whatever came up is in the log, by way of threading's own hook.
            if not finished:
                self._publish(Waiting(missing=(_died(self.settings.model_path),)))

    def _load_and_watch(self, model_path: str) -> None:
        began = monotonic()
        from ct_scan_mlops.serving.attempts import Attempts

        attempts = Attempts(settings=self.settings, began=began)
        pause = FIRST_RETRY_SECONDS
        while not self._stopped.is_set():
            before = self._fingerprints()
            state = attempts.next(model_path)
            self._publish(state)
            if isinstance(state, Ready):
                self.on_ready()
                self._watch(state, before)
                return
            self._stopped.wait(pause)
            pause = min(2 * pause, LAST_RETRY_SECONDS)

    def _watch(self, state: Ready, before: list[Fingerprint | None]) -> None:
        while not self._stopped.wait(LAST_RETRY_SECONDS):
            if self._fingerprints() != before:
                self._publish(replace(state, changed=True))
                return

    def _fingerprints(self) -> list[Fingerprint | None]:
        texts = (self.settings.model_path, self.settings.features_path)
        root = self.settings.model_root
        return [fingerprint(root, text) for text in texts if text and not is_remote(text)]

    def _publish(self, state: State) -> None:
        if _told(state) != _told(self.state):
            log.info(_told(state))
        self.state = state


_UNSET = Missing(
    variable="MODEL_PATH",
    value=None,
    error=(
        "MODEL_PATH is not set. Set it to a checkpoint: a path below MODEL_ROOT, gs://… or s3://…, "
        "and start the container again."
    ),
)


def _died(model_path: str) -> Missing:
    error = "Loading ended in an error that was not foreseen. See the log, and restart."
    return Missing(variable="MODEL_PATH", value=shown(model_path), error=error)


def _told(state: State) -> str:
    match state:
        case Waiting(missing=missing):
            reasons = " ".join(f"{item.variable}: {item.error}" for item in missing)
            return f"Not ready. {reasons}" if missing else "Loading the model."
        case Ready(changed=True):
            return "A file changed since the model was loaded. Restart to serve what is there now."
        case Ready():
            kind = state.inference.classifier.kind
            return f"Ready after {state.seconds:.2f} s: {kind}, SHA-256 {state.digest}."
