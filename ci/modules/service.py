"""Images as services, for tests that reach them from outside.

The command is the image's own. A keeper starts it in the same container, so that a test can start
it anew with other variables, end it, and read what it said.
"""

import dagger

from ci.modules.environment import program

KEEPER = 9900
_TEMPORARY = "/tmp"


async def kept(
    container: dagger.Container, *, command: tuple[str, ...] = (), confined: bool = False
) -> dagger.Service:
    """A container's command under a keeper.

    A confined one has a root file system that it cannot write to, is process 1, and has no
    capability: what the strictest of hosts would leave it.
    """
    words = command or await container.default_args()
    user = await container.user()
    keeper = ["python3", "-c", program("keeper.py"), str(KEEPER), user if confined else ""]
    if confined:
        container = container.with_user("root").with_mounted_temp(_TEMPORARY)
    return container.with_exposed_port(KEEPER).as_service(
        args=[*keeper, *await container.entrypoint(), *words],
        insecure_root_capabilities=confined,
        no_init=True,
    )
