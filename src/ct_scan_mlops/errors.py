"""Every failure of the workload that a user is to read, in one tree.

A message says what happened, why, and what to do next. The class decides the exit code, and in the
services the status.

    WorkloadError
    ├── SettingsInvalid       a variable of the environment or an option
    ├── DataInvalid           labels.csv and the directory around it
    ├── OutputUnwritable      a directory that we may not write to
    ├── SliceRefused          what was given as a slice
    │   ├── SliceTooLarge     more bytes, pixels, frames or elements than the limits allow
    │   ├── SliceUnsupported  another format, or a kind of PNG or DICOM that is not read
    │   └── SliceInvalid      damaged, cut off, or contradicting itself
    ├── LocationRefused       a place that a model or its features may not, or cannot, be read from
    ├── CheckpointRefused     a model that is missing, damaged, or not ours
    ├── FeaturesRefused       a feature set that is missing, damaged, or not ours
    └── ObservationsInvalid   what a client reports to the drift API
"""


class WorkloadError(Exception):
    """A failure that is shown to the user as its message."""

    exit_code = 1


class SettingsInvalid(WorkloadError):
    """A variable or an option that cannot be used as it stands."""

    exit_code = 2


class DataInvalid(WorkloadError):
    """A data directory whose labels are missing or cannot be believed."""


class OutputUnwritable(WorkloadError):
    """A place for results in which this process may not write."""


class SliceRefused(WorkloadError):
    """Bytes that are not turned into a slice."""


class SliceTooLarge(SliceRefused):
    """Decoding would take more than the limits allow; nothing was decoded."""


class SliceUnsupported(SliceRefused):
    """Neither PNG nor DICOM, or of a kind that is not read."""


class SliceInvalid(SliceRefused):
    """Damaged, cut off, or contradicting itself."""


class LocationRefused(WorkloadError):
    """A path or an object that is missing, out of bounds, or cannot be read."""


class CheckpointRefused(WorkloadError):
    """A checkpoint that is missing, damaged, or not one of ours. Nothing in it was executed."""


class FeaturesRefused(WorkloadError):
    """A feature set that is missing, damaged, or not one of ours. Nothing in it was executed."""


class ObservationsInvalid(WorkloadError):
    """Observations of which one is wrong; none of them was kept."""
