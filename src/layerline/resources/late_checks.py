"""Part of every module's SDK: its type checks are made when a class is first used.

The text of this file is appended to `dagger/client/_guards.py`. To make the checks of all classes
when they are imported takes as long as all the rest of a function's start.
"""

import functools
import threading
import types
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def checked_late(check: Callable[[type], object]) -> Callable[[type], type]:
    """A class decorator that puts `check` off until a method of the class is first called."""

    def decorate(owner: type) -> type:
        plain = {n: v for n, v in vars(owner).items() if isinstance(v, types.FunctionType)}
        lock = threading.RLock()

        def settle() -> None:
            with lock:
                if not plain:
                    return
                for name, function in plain.items():
                    setattr(owner, name, function)
                plain.clear()
                check(owner)

        def late(name: str, function: Callable[P, R]) -> Callable[P, R]:
            @functools.wraps(function)
            def first(*args: P.args, **kwargs: P.kwargs) -> R:
                settle()
                checked: Callable[P, R] = getattr(owner, name)
                return checked(*args, **kwargs)

            return first

        for name, function in list(plain.items()):
            setattr(owner, name, late(name, function))
        return owner

    return decorate
