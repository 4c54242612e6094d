"""A secret of the desktop's keyring, by the Secret Service API: a program of its own.

It runs as the caller, whom the keyring's D-Bus knows, with the library `secretstorage`. `argv` has
the URI's collection, path and JSON of attributes; the value is written to standard output. See
engine/client/secretprovider/libsecret.go of Dagger v0.21.8.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def find(collections: Any, name: str, path: str, attributes: dict[str, str]) -> bytes:
    """The value of the one item; ValueError says what is wrong with the items."""
    wanted = [each for each in collections if each.collection_path.rpartition("/")[2] == name]
    if not wanted:
        message = f"collection {name} not found"
        raise ValueError(message)
    wanted[0].unlock()
    items = list(wanted[0].get_all_items())
    if not items:
        message = f"no items found in collection {name}"
        raise ValueError(message)
    for item in items:
        if item.is_locked():
            message = f"item {item.item_path} is locked"
            raise ValueError(message)
    shown = f"{name}/{path}" if path else name
    if not path and not attributes:
        message = f"item {shown} must be filtered"
        raise ValueError(message)
    if path:
        by_id = [item for item in items if item.item_path.rpartition("/")[2] == path]
        items = by_id or [item for item in items if item.get_label() == path]
    items = [item for item in items if attributes.items() <= item.get_attributes().items()]
    if len(items) != 1:
        message = f"too many items found for {shown}" if items else f"item {shown} not found"
        raise ValueError(message)
    value: bytes = items[0].get_secret()
    return value


def main() -> None:
    """Print the value, or the reason why there is none, which ends the program with 1."""
    try:
        # Not a dependency: who has no keyring needs none.
        secretstorage: Any = importlib.import_module("secretstorage")
    except ImportError:
        sys.exit("the Python package secretstorage is not installed: install it next to layerline")
    name, path, attributes = sys.argv[1:]
    try:
        connection = secretstorage.dbus_init()
        collections = secretstorage.get_all_collections(connection)
        value = find(collections, name, path, json.loads(attributes))
    except (ValueError, secretstorage.exceptions.SecretStorageException) as exc:
        sys.exit(str(exc))
    sys.stdout.buffer.write(value)


if __name__ == "__main__":
    main()
