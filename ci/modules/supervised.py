"""Images as services, for tests that reach them from outside.

The command is the image's own. A supervisor runs it in the same container: a test can restart it
with other variables, stop it, and read its output.
"""

import dagger

from ci.modules.programs import program

SUPERVISOR_PORT = 9900
_TEMPORARY = "/tmp"


async def supervise(
    container: dagger.Container, *, command: tuple[str, ...] = (), confined: bool = False
) -> dagger.Service:
    """A container's command under a supervisor.

    A confined one has a root file system that it cannot write to, is process 1, and has no
    capability: what the strictest of hosts would leave it.
    """
    argv = command or await container.default_args()
    user = await container.user()
    supervisor = [
        "python3",
        "-c",
        program("supervisor.py"),
        str(SUPERVISOR_PORT),
        user if confined else "",
    ]
    if confined:
        container = container.with_user("root").with_mounted_temp(_TEMPORARY)
    return container.with_exposed_port(SUPERVISOR_PORT).as_service(
        args=[*supervisor, *await container.entrypoint(), *argv],
        insecure_root_capabilities=confined,
        no_init=True,
    )
