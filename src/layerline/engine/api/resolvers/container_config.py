"""A container's configuration: setting it runs nothing, reading it runs the container's steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from layerline.engine.api.container_paths import absolute, expand_variables
from layerline.engine.api.durations import go_duration, nanoseconds
from layerline.engine.api.fields import field
from layerline.engine.api.objects import Container, EnvVariable, HealthcheckConfig, Label, Port
from layerline.engine.image.config import Healthcheck
from layerline.engine.solve import service_definitions
from layerline.errors import QueryError

if TYPE_CHECKING:
    from layerline.engine.api.session import Call

Pairs = tuple[tuple[str, str], ...]


def with_config(container: Container, **changes: Any) -> Container:
    """The container with members of its image configuration replaced."""
    return replace(container, config=replace(container.config, **changes), image_ref="")


def with_pair(pairs: Pairs, name: str, value: str) -> Pairs:
    """Replace the pair of a name in place, or append it."""
    if any(known == name for known, _ in pairs):
        return tuple((known, value if known == name else old) for known, old in pairs)
    return (*pairs, (name, value))


def without_pair(pairs: Pairs, name: str) -> Pairs:
    """Remove the pair of a name; an unknown name is fine."""
    return tuple(pair for pair in pairs if pair[0] != name)


async def run_steps(container: Container, call: Call) -> Container:
    """Run the container's steps: reading a scalar fails where a step fails."""
    if container.rootfs is not None:
        await call.session.solver.result(container.rootfs)
    return container


@field("Container", "withEnvVariable")
def with_env_variable(
    self: Container, _call: Call, *, name: str, value: str, expand: bool = False
) -> Container:
    """Set a variable."""
    text = expand_variables(self, value, expand=expand)
    return with_config(self, env=with_pair(self.config.env, name, text))


@field("Container", "withoutEnvVariable")
def without_env_variable(self: Container, _call: Call, *, name: str) -> Container:
    """Remove a variable."""
    return with_config(self, env=without_pair(self.config.env, name))


@field("Container", "envVariable")
async def env_variable(self: Container, call: Call, *, name: str) -> str | None:
    """The value of a variable."""
    return dict((await run_steps(self, call)).config.env).get(name)


@field("Container", "envVariables")
async def env_variables(self: Container, call: Call) -> list[EnvVariable]:
    """All variables, in the order of first setting."""
    return [
        EnvVariable(name=name, value=value)
        for name, value in (await run_steps(self, call)).config.env
    ]


@field("Container", "withVolatileVariable")
def with_volatile_variable(self: Container, _call: Call, *, name: str, value: str) -> Container:
    """A variable that execs see and whose value is in no key."""
    return replace(self, volatile=with_pair(self.volatile, name, value), image_ref="")


@field("Container", "withoutVolatileVariable")
def without_volatile_variable(self: Container, _call: Call, *, name: str) -> Container:
    """Remove a volatile variable."""
    return replace(self, volatile=without_pair(self.volatile, name), image_ref="")


@field("Container", "withLabel")
def with_label(self: Container, _call: Call, *, name: str, value: str) -> Container:
    """Set a label."""
    return with_config(self, labels=with_pair(self.config.labels, name, value))


@field("Container", "withoutLabel")
def without_label(self: Container, _call: Call, *, name: str) -> Container:
    """Remove a label."""
    return with_config(self, labels=without_pair(self.config.labels, name))


@field("Container", "label")
async def label(self: Container, call: Call, *, name: str) -> str | None:
    """The value of a label."""
    return dict((await run_steps(self, call)).config.labels).get(name)


@field("Container", "labels")
async def labels(self: Container, call: Call) -> list[Label]:
    """All labels."""
    return [
        Label(name=name, value=value) for name, value in (await run_steps(self, call)).config.labels
    ]


@field("Container", "withAnnotation")
def with_annotation(self: Container, _call: Call, *, name: str, value: str) -> Container:
    """Set an annotation of the manifest."""
    return replace(self, annotations=with_pair(self.annotations, name, value), image_ref="")


@field("Container", "withoutAnnotation")
def without_annotation(self: Container, _call: Call, *, name: str) -> Container:
    """Remove an annotation."""
    return replace(self, annotations=without_pair(self.annotations, name), image_ref="")


@field("Container", "withEntrypoint")
def with_entrypoint(
    self: Container, _call: Call, *, args: list[str], keep_default_args: bool = False
) -> Container:
    """Set the entrypoint; default args are removed unless they are kept."""
    return _without_args(with_config(self, entrypoint=tuple(args)), keep=keep_default_args)


@field("Container", "withoutEntrypoint")
def without_entrypoint(
    self: Container, _call: Call, *, keep_default_args: bool = False
) -> Container:
    """Remove the entrypoint; default args are removed unless they are kept."""
    return _without_args(with_config(self, entrypoint=None), keep=keep_default_args)


def _without_args(container: Container, *, keep: bool) -> Container:
    return container if keep else replace(with_config(container, cmd=None), default_args_set=False)


@field("Container", "entrypoint")
async def entrypoint(self: Container, call: Call) -> list[str]:
    """The entrypoint, empty if there is none."""
    return list((await run_steps(self, call)).config.entrypoint or ())


@field("Container", "withDefaultArgs")
def with_default_args(self: Container, _call: Call, *, args: list[str]) -> Container:
    """Set the default args."""
    return replace(with_config(self, cmd=tuple(args)), default_args_set=True)


@field("Container", "withoutDefaultArgs")
def without_default_args(self: Container, _call: Call) -> Container:
    """Remove the default args."""
    return replace(with_config(self, cmd=None), default_args_set=False)


@field("Container", "defaultArgs")
async def default_args(self: Container, call: Call) -> list[str]:
    """The default args, empty if there are none."""
    return list((await run_steps(self, call)).config.cmd or ())


@field("Container", "withUser")
def with_user(self: Container, _call: Call, *, name: str) -> Container:
    """Set the user, as written."""
    return with_config(self, user=name)


@field("Container", "withoutUser")
def without_user(self: Container, _call: Call) -> Container:
    """Reset to the default user."""
    return with_config(self, user="")


@field("Container", "user")
async def user(self: Container, call: Call) -> str:
    """The user, as written."""
    return (await run_steps(self, call)).config.user


@field("Container", "withWorkdir")
def with_workdir(self: Container, _call: Call, *, path: str, expand: bool = False) -> Container:
    """Set the working directory: an absolute one as written, a relative one below the current."""
    text = expand_variables(self, path, expand=expand)
    workdir = text if text.startswith("/") else absolute(self, text).rstrip("/") or "/"
    return with_config(self, workdir=workdir)


@field("Container", "withoutWorkdir")
def without_workdir(self: Container, _call: Call) -> Container:
    """Unset the working directory."""
    return with_config(self, workdir="")


@field("Container", "workdir")
async def workdir(self: Container, call: Call) -> str:
    """The working directory, empty if unset."""
    return (await run_steps(self, call)).config.workdir


@field("Container", "platform")
async def platform(self: Container, call: Call) -> str:
    """The platform of the container's programs."""
    return str((await run_steps(self, call)).config.platform)


@field("Container", "withExposedPort")
def with_exposed_port(
    self: Container,
    _call: Call,
    *,
    port: int,
    protocol: str = "TCP",
    description: str | None = None,
    experimental_skip_healthcheck: bool = False,
) -> Container:
    """Expose a port; the same port again replaces the earlier one."""
    spec = service_definitions.PortSpec(
        port=port,
        protocol=protocol,
        description=description,
        skip_healthcheck=experimental_skip_healthcheck,
    )
    kept = [p for p in self.ports if (p.port, p.protocol) != (port, protocol)]
    return _with_ports(self, (*kept, spec))


@field("Container", "withoutExposedPort")
def without_exposed_port(
    self: Container, _call: Call, *, port: int, protocol: str = "TCP"
) -> Container:
    """Remove an exposed port."""
    return _with_ports(
        self, tuple(p for p in self.ports if (p.port, p.protocol) != (port, protocol))
    )


def _with_ports(container: Container, ports: tuple[service_definitions.PortSpec, ...]) -> Container:
    named = tuple(f"{port.port}/{port.protocol.lower()}" for port in ports)
    return replace(with_config(container, exposed_ports=named), ports=ports)


@field("Container", "exposedPorts")
async def exposed_ports(self: Container, call: Call) -> list[Port]:
    """The exposed ports."""
    return [port_value(spec) for spec in (await run_steps(self, call)).ports]


def port_value(spec: service_definitions.PortSpec) -> Port:
    """A port as an object of the API."""
    return Port(
        port=spec.port,
        protocol=spec.protocol,
        description=spec.description,
        experimental_skip_healthcheck=spec.skip_healthcheck,
    )


@field("Container", "withDockerHealthcheck")
def with_docker_healthcheck(
    self: Container,
    _call: Call,
    *,
    args: list[str],
    shell: bool = False,
    interval: str = "0s",
    timeout: str = "0s",
    start_period: str = "0s",
    start_interval: str = "0s",
    retries: int = 0,
) -> Container:
    """Set the docker health check."""
    if not args:
        message = "WithHealthcheck args is missing"
        raise QueryError(message)
    if shell and len(args) != 1:
        message = "WithHealthcheck args must be a single element when shell mode is set"
        raise QueryError(message)
    check = Healthcheck(
        test=("CMD-SHELL" if shell else "CMD", *args),
        interval=nanoseconds(interval),
        timeout=nanoseconds(timeout),
        start_period=nanoseconds(start_period),
        start_interval=nanoseconds(start_interval),
        retries=retries,
    )
    return with_config(self, healthcheck=check)


@field("Container", "withoutDockerHealthcheck")
def without_docker_healthcheck(self: Container, _call: Call) -> Container:
    """Remove the health check."""
    return with_config(self, healthcheck=None)


@field("Container", "dockerHealthcheck")
async def docker_healthcheck(self: Container, call: Call) -> HealthcheckConfig | None:
    """The health check, or null."""
    check = (await run_steps(self, call)).config.healthcheck
    if check is None or check.test[:1] in ((), ("NONE",)):
        return None
    return HealthcheckConfig(
        args=check.test[1:],
        shell=check.test[0] == "CMD-SHELL",
        interval=go_duration(check.interval),
        timeout=go_duration(check.timeout),
        start_period=go_duration(check.start_period),
        start_interval=go_duration(check.start_interval),
        retries=check.retries,
    )


@field("Container", "withError")
@field("Directory", "withError")
def with_error(self: Any, _call: Call, *, err: str) -> Any:
    """Everything after this fails with the text; an empty one changes nothing."""
    if err:
        raise QueryError(err)
    return self
