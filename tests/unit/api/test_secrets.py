"""The limits of secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerline.errors import SecretError

if TYPE_CHECKING:
    from tests.unit.conftest import OpenSession


async def test_a_secret_may_be_as_large_as_buildkit_takes(open_a_session: OpenSession) -> None:
    """MaxSecretSize in session/secrets of moby/buildkit is 500 * 1024."""
    async with open_a_session() as session:
        largest = session.secrets.set("a", "x" * 512_000, "c")
        assert len(session.secrets.plaintext(largest)) == 512_000
        larger = session.secrets.set("b", "x" * 512_001, "c")
        with pytest.raises(SecretError, match="512001 bytes, the limit is 512000"):
            session.secrets.plaintext(larger)
