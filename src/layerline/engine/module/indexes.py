"""Package indexes: pip's settings as uv's environment variables, as uv does not read them."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import TYPE_CHECKING

from layerline import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerline.settings import Settings

_WORDS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
}
_LISTS_WITH_COMMAS = {"UV_FIND_LINKS"}
_PASSED_ON = ("UV_", "SSL_CERT_", "HOME", "XDG_CACHE_HOME", "NETRC", "LANG", "LC_ALL")


def installer_environ(settings: Settings) -> dict[str, str]:
    """The environment for uv: the user's UV_ variables, pip's settings, proxies, CA bundle."""
    environ = settings.environ
    chosen = {name: value for name, value in environ.items() if name.startswith(_PASSED_ON)}
    for option, value in _pip_settings(environ, settings.home).items():
        name = _WORDS[option]
        joined = ",".join(value.split()) if name in _LISTS_WITH_COMMAS else " ".join(value.split())
        chosen.setdefault(name, joined)
    if "UV_INDEX" in chosen:
        # pip takes the best version of all indexes; who set them up for pip expects the same here.
        chosen.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    if settings.ca_bundle is not None:
        chosen.setdefault("SSL_CERT_FILE", str(settings.ca_bundle))
    return {**settings.proxies, "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", **chosen}


def _pip_settings(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in pip_files(environ, home):
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text())
        except (OSError, UnicodeDecodeError, configparser.Error) as exc:
            log.debug("%s is left out: %s", path, exc)
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({k: v for k, v in parser.items(section) if k in _WORDS})
    for option in _WORDS:
        value = environ.get("PIP_" + option.replace("-", "_").upper())
        if value:
            found[option] = value
    return found


def pip_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """The configuration files of pip that exist; later ones win."""
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    candidates = [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
    named = environ.get("PIP_CONFIG_FILE")
    if named == "/dev/null":
        return []
    if named:
        candidates.append(Path(named))
    return [path for path in candidates if path.is_file()]
