"""What is wrong with a project, as opposed to a defect of the pipeline."""

import logging


class PipelineError(ValueError):
    """An error whose message is all that its reader needs.

    The SDK logs what a function raises with its traceback. That of such an error would be fifty
    lines about the pipeline above the one line about the project, so it is left out.
    """


def _is_defect(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], PipelineError))


# The SDK's logger of what functions raise (dagger/mod/_module.py).
logging.getLogger("dagger.mod").addFilter(_is_defect)
