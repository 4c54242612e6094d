"""What `publish` of a project's own module is given of this machine: a login, and a key to sign.

The login is that for the registry on the command line and for no other; the key is that of
`[signing]` in the settings. Both are secrets, and defaults of the function's own flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerline.engine import Credentials, Reference
from layerline.errors import InvalidReference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerline.settings import Settings

LOGIN_VARIABLE = "LAYERLINE_REGISTRY_LOGIN"
_FUNCTION = "publish"
_ADDRESS = "--address"


def publishing_defaults(
    settings: Settings, argv: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Texts of flags by function and argument, and the variables that they name."""
    address = _address(argv)
    if _FUNCTION not in argv or not address:
        return {}, {}
    texts, variables = {}, {}
    if settings.signing.sign_with is not None:
        texts[f"{_FUNCTION}_sign_key"] = f"file:{settings.signing.sign_with}"
    try:
        registry = Reference.parse(address).registry
    except InvalidReference:  # the function reports it
        return texts, {}
    login = Credentials.of(settings).for_registry(registry)
    if login is not None:
        texts[f"{_FUNCTION}_registry_login"] = f"env:{LOGIN_VARIABLE}"
        variables[LOGIN_VARIABLE] = f"{login.username}:{login.secret}"
    return texts, variables


def _address(argv: Sequence[str]) -> str:
    for at, arg in enumerate(argv):
        if arg == _ADDRESS:
            return argv[at + 1] if at + 1 < len(argv) else ""
        if arg.startswith(f"{_ADDRESS}="):
            return arg.partition("=")[2]
    return ""
