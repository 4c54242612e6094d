"""The results of a session's calls: found by the ids of the arguments, or else by their content.

A directory or file that a process would have to make first counts by its id: a call does not wait
for files that the function may never read.
"""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerline.engine.api.objects import Directory, File
from layerline.engine.module import results
from layerline.errors import LayerlineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from layerline.engine.api.session import Session
    from layerline.engine.module.definitions import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCache:
    """The results of one function; each holds for `seconds`, 0 for this session.

    `run` calls it with the object's state and the arguments. `report_hit` is for results of before.
    """

    session: Session
    module: str
    owner: str
    function: str
    seconds: float
    run: Callable[[Json, dict[str, Json]], Awaitable[Json]]
    report_hit: Callable[[], None]

    async def get(self, parent: Json, arguments: dict[str, Json]) -> Json:
        """The result for an object and arguments; the function is called if there is none."""
        key = results.key_of(self.module, self.owner, self.function, parent, arguments)

        async def make() -> Json:
            known = await self._recall(key)
            if known is not None:
                return known.value
            given = await _with_contents(self.session, [parent, arguments])
            same = results.key_of(self.module, self.owner, self.function, *given)

            async def make_by_content() -> Json:
                known = await self._recall(same)
                if known is not None:
                    return known.value
                value = await self.run(parent, arguments)
                # What holds a secret in any form is answered, but not written to the index.
                if self.seconds > 0 and not self.session.journal.masks.holds(json.dumps(value)):
                    index, load = self.session.store.index, self.session.load
                    results.remember(index, same, value, seconds=self.seconds, load=load)
                    self._offer(same)
                return value

            value = await self.session.once(f"call {same}", make_by_content)
            if self.seconds > 0 and same != key:
                results.remember_also(self.session.store.index, same, key)
                self._offer(key)
            return value

        return await self.session.once(f"call by ids {key}", make)

    async def _recall(self, key: str) -> results.CachedResult | None:
        known = results.recall(self.session.store.index, key) if self.seconds > 0 else None
        if known is None and self.seconds > 0 and self._is_shared:
            find = self.session.solver.sharing.find_call
            if await self.session.solver.in_thread(find, results.TABLE, key):
                known = results.recall(self.session.store.index, key)
        if known is not None:
            self.report_hit()
            for value in known.objects.values():
                self.session.identify(value)
        return known

    @property
    def _is_shared(self) -> bool:
        shared, name = self.session.solver.context.shared, f"{self.owner}.{self.function}"
        return shared is not None and name not in self.session.settings.cache.private

    def _offer(self, key: str) -> None:
        """Let other machines have a result that is remembered."""
        row = self.session.store.index.get(results.TABLE, key)
        if row is not None and self._is_shared:
            objects = row["objects"]
            assert isinstance(objects, dict)
            values = [self.session.load(name) for name in objects]
            self.session.solver.sharing.offer_call(results.TABLE, key, row, values)


async def _with_contents(session: Session, value: Json) -> Json:
    """A JSON value with contents in place of the ids of directories and files."""
    contents = {name: await _content(session, name) for name in set(results.ids_in(value))}
    return _replaced(value, {name: found for name, found in contents.items() if found is not None})


async def _content(session: Session, name: str) -> Json | None:
    try:
        found = session.load(name)
        if not isinstance(found, Directory | File):
            return None
        content = await session.solver.content(found.tree, found.path)
    except LayerlineError:  # an id of nothing, or a path that is missing: the function reports it
        return None
    if content is None:
        return None
    return {"type": found.typename, "name": posixpath.basename(found.path), "content": content}


def _replaced(value: Json, contents: dict[str, Json]) -> Json:
    match value:
        case str():
            return contents.get(value, value)
        case list():
            return [_replaced(item, contents) for item in value]
        case dict():
            return {name: _replaced(item, contents) for name, item in value.items()}
        case _:
            return value
