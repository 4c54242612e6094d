"""The status of each way in which a slice is refused."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ct_scan_mlops.errors import SliceRefused, SliceTooLarge, SliceUnsupported
from ct_scan_mlops.web.problems import problem_response

_WHAT_NEXT = "Send one slice as a PNG or DICOM file."


def answer_refused_slices(app: FastAPI) -> None:
    app.add_exception_handler(SliceRefused, _refused)


async def _refused(_: Request, exc: Exception) -> JSONResponse:
    match exc:
        case SliceTooLarge():
            status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case SliceUnsupported():
            status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        case _:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
    return problem_response(status, str(exc), _WHAT_NEXT)
