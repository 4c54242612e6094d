"""What is wrong with a project, as opposed to a defect of the pipeline."""

import logging

import dagger


class PipelineError(ValueError):
    """An error whose message is all that its reader needs.

    The SDK logs what a function raises with its traceback. That of such an error would be fifty
    lines about the pipeline above the one line about the project, so it is left out.
    """


def _is_defect(record: logging.LogRecord) -> bool:
    """Whether neither a project is wrong nor the engine has said why it cannot go on.

    The latter is mostly a step that failed, whose output the engine shows.
    """
    error = record.exc_info and record.exc_info[1]
    return not isinstance(error, PipelineError | dagger.QueryError)


# The SDK's logger of what functions raise (dagger/mod/_module.py).
logging.getLogger("dagger.mod").addFilter(_is_defect)
