"""Which features to keep: those that say most about the label, and say it only once."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SEED: Final = 0
_MOST_CORRELATION: Final = 0.95


def select_top(
    values: NDArray[np.float64], labels: Sequence[str], names: Sequence[str], count: int
) -> tuple[str, ...]:
    """At most `count` names by mutual information with the label, the best first.

    A feature that goes along with a better one (|r| above 0.95) is passed over, so there may be
    fewer. One that never varies is never taken, unless there is no other.
    """
    # Seconds and 150 MB, which the services that only extract features do not have to spare.
    from sklearn.feature_selection import mutual_info_classif

    varying = np.flatnonzero(values.std(axis=0) > 1e-12)
    if not varying.size:
        return tuple(names[:1])
    seen = values[:, varying]
    information = mutual_info_classif(seen, np.asarray(labels), random_state=_SEED)
    alike = np.abs(np.corrcoef(seen, rowvar=False).reshape(len(varying), -1))
    kept: list[int] = []
    # Ties go to the earlier feature, so that the same slices always give the same set.
    for candidate in np.argsort(-information, kind="stable").tolist():
        if len(kept) == count:
            break
        if not kept or alike[candidate, kept].max() <= _MOST_CORRELATION:
            kept.append(candidate)
    return tuple(names[varying[place]] for place in kept)
