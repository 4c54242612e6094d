"""Names of files that are likely to hold a secret.

The doctor knows the same names: it runs on Python 3.9 without the pipeline. A test compares them.
"""

import re

_SECRET_NAMES = frozenset(
    {
        *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", ".pypirc", ".git-credentials"),
        *(".htpasswd", "credentials", "kaggle.json", "kubeconfig"),
    }
)
_SECRET_SUFFIXES = frozenset({"pem", "key", "p12", "pfx", "kdbx", "keystore", "jks"})
_PUBLIC = ("cacert", "ca-bundle", "ca-certificates")
_SECRET_JSON = re.compile(
    r"(?:.*[-_])?credentials(?:[-_].*)?\.json|service[-_]account.*\.json|client_secret.*\.json"
)
_EXAMPLES = frozenset({"example", "sample", "template", "dist"})


def is_secret(name: str) -> bool:
    """Whether a file of this name is likely to hold a secret."""
    if name in _SECRET_NAMES:
        return True
    stem, _, suffix = name.rpartition(".")
    if suffix in _SECRET_SUFFIXES:
        return not stem.startswith(_PUBLIC)
    if suffix == "json":
        return _SECRET_JSON.fullmatch(name) is not None
    return name == ".env" or (name.startswith(".env.") and suffix not in _EXAMPLES)
