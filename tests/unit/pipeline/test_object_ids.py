"""Objects that answer for their ids themselves, as arguments of other ones."""

from __future__ import annotations

import dagger
from dagger import dag
from dagger.client._guards import is_id_type

from layerline.pipeline.object_ids import IdCache, with_id, with_one_request


async def test_a_known_id_needs_no_connection() -> None:
    known = with_id(dag.load_directory_from_id(dagger.DirectoryID("one")), "one")
    assert is_id_type(known)
    assert await known.id() == "one"


async def test_an_id_is_requested_once() -> None:
    requests: list[str] = []

    async def request() -> str:
        requests.append("asked")
        return "two"

    volume = dag.cache_volume("wheels")
    volume.id = request  # type: ignore[method-assign]
    kept = with_one_request(volume)
    assert [await kept.id(), await kept.id()] == ["two", "two"]
    assert requests == ["asked"]


def test_one_volume_and_one_secret_serve_all_steps() -> None:
    ids = IdCache()
    assert ids.volume("wheels") is ids.volume("wheels")
    assert ids.volume("wheels") is not ids.volume("sources")
    assert ids.secret("netrc", "a") is ids.secret("netrc", "a")
    assert ids.secret("netrc", "a") is not ids.secret("netrc", "b")
