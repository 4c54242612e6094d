"""Many sessions at once on one store: steps run once, and volumes are shared as they say."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.concurrency.conftest import Client, Connect

pytestmark = pytest.mark.privileged

SESSIONS = 3
EACH = 4


def cache(client: Client, key: str, sharing: str = "SHARED") -> str:
    return f'withMountedCache(path: "/c", cache: "{client.volume(key)}", sharing: {sharing})'


def together(connect: Connect, sharing: str, script: str) -> list[str]:
    """The script run by several sessions, several times in each at once, as different steps."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(SESSIONS * EACH) as pool:
        clients = [stack.enter_context(connect()) for _ in range(SESSIONS)]
        clients[0].shell("true")
        jobs = [
            pool.submit(client.shell, script, cache(client, "volume", sharing), unique=f"{n}-{m}")
            for n, client in enumerate(clients)
            for m in range(EACH)
        ]
        return [job.result() for job in jobs]


def test_each_step_runs_once_across_processes(connect: Connect) -> None:
    script = "echo ran >> /c/count; sleep 0.5; cat /proc/sys/kernel/random/uuid"
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(SESSIONS * EACH) as pool:
        clients = [stack.enter_context(connect()) for _ in range(SESSIONS)]
        jobs = [
            pool.submit(client.shell, script, cache(client, "count"))
            for client in clients
            for _ in range(EACH)
        ]
        answers = {job.result() for job in jobs}
        first = clients[0]
        assert first.shell("wc -l < /c/count", cache(first, "count")).strip() == "1"
    assert len(answers) == 1


def test_a_locked_volume_has_one_user_at_a_time(connect: Connect) -> None:
    script = "mkdir /c/busy || exit 9; echo x >> /c/log; sleep 0.1; rmdir /c/busy; wc -l < /c/log"
    seen = sorted(int(text) for text in together(connect, "LOCKED", script))
    assert seen == list(range(1, SESSIONS * EACH + 1))


def test_a_shared_volume_has_many_users_at_once(connect: Connect) -> None:
    script = "touch /c/$UNIQUE; sleep 2; ls /c | wc -l; rm /c/$UNIQUE"
    seen = [int(text) for text in together(connect, "SHARED", script)]
    assert max(seen) > 1


def test_a_private_volume_is_never_used_by_two(connect: Connect) -> None:
    script = "mkdir /c/busy || exit 9; sleep 0.1; rmdir /c/busy; echo fine"
    assert together(connect, "PRIVATE", script) == ["fine\n"] * (SESSIONS * EACH)


def test_a_failure_in_one_session_does_not_reach_another(connect: Connect) -> None:
    script = "echo ran >> /c/count; test $(wc -l < /c/count) -ge 2"
    with connect() as one, connect() as other:
        with pytest.raises(AssertionError, match="exit code: 1"):
            one.shell(script, cache(one, "failing"))
        assert other.shell(script, cache(other, "failing")) == ""
