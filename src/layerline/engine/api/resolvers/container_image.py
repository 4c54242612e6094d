"""Images: where a container comes from, and the forms in which it leaves."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerline.engine.api import container_export
from layerline.engine.api.container_paths import expand_variables
from layerline.engine.api.fields import field
from layerline.engine.api.host_export import make_directories
from layerline.engine.api.host_paths import host_path, require_host
from layerline.engine.api.image_export import assemble_image, facts_of, prefer_form
from layerline.engine.api.objects import Container, File, Host, Secret, Service
from layerline.engine.api.resolvers.container_config import with_pair
from layerline.engine.api.tree_access import file_in, tree_of
from layerline.engine.image.archive import write_archive, write_layout
from layerline.engine.image.archive_reader import read_archive
from layerline.engine.image.container_programs import find_container_program, load, save
from layerline.engine.image.described_archive import FILE as ARCHIVE
from layerline.engine.image.described_archive import find_image, store_archive
from layerline.engine.image.platform import Platform
from layerline.engine.image.reference import Reference
from layerline.engine.image.registry_server.named_images import remember_image
from layerline.engine.image.registry_server.pulling import pull_into
from layerline.engine.image.registry_server.served_layers import ServedLayers
from layerline.engine.solve import ops, service_definitions
from layerline.engine.store.digest import digest_of
from layerline.engine.store.disk_errors import write_errors
from layerline.errors import ImageError, QueryError
from layerline.log import Status
from layerline.quantities import format_size

if TYPE_CHECKING:
    from layerline.engine.api.session import Call
    from layerline.engine.image.assemble import AssembledImage
    from layerline.engine.image.config import ImageConfig
    from layerline.engine.image.container_programs import ContainerProgram
    from layerline.engine.image.layer_import import Image
    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.image.registry.reach import Reach

_REGISTRY_PORT = 80


@field(
    "Container",
    "from",
    differs="debian and ubuntu are bootstrapped from packages if no registry answers",
)
async def from_(
    self: Container, call: Call, *, address: str, registry_service: Service | None = None
) -> Container:
    """The files and configuration of an image; a tag is looked up once in a session."""
    reference = Reference.parse(address).with_default_tag()
    platform = self.config.platform

    async def resolve() -> Image:
        place = await _reachable_reference(call, reference, registry_service)
        reach = _reach(call, place, registry_service)
        with call.session.journal.step(f"from {address}") as step:
            find = functools.partial(
                call.session.registries.resolve,
                on_output=functools.partial(step.write, stream=2),
                on_bytes=step.report,
                reach=reach,
            )
            image = await call.session.solver.in_thread(find, place, platform)
            if image.origin == "store":
                step.end(Status.CACHED)
        return image

    image: Image = await call.session.once(f"from {reference} {platform}", resolve)
    pinned = replace(reference, digest=image.reference.digest) if image.reference else None
    return replace(
        with_image(self, image, merge_config(self.config, image.config)),
        annotations=self.annotations,
        image_ref=str(pinned or ""),
    )


async def _reachable_reference(
    call: Call, reference: Reference, service: Service | None
) -> Reference:
    """The reference as this machine reaches it: through a tunnel if the registry is a service."""
    if service is None:
        return reference
    port = reference.registry.rpartition(":")[2]
    backend = int(port) if port.isdigit() else _REGISTRY_PORT
    forward = service_definitions.Forward(frontend=0, backend=backend)
    tunnel = await call.session.services.tunnel(service.spec, [forward])
    return replace(reference, registry=f"127.0.0.1:{tunnel.ports[0][0]}")


def with_image(container: Container, image: Image, config: ImageConfig) -> Container:
    """The container with the files of an image."""
    digest = digest_of(["image", list(image.diff_ids)])
    return replace(
        container,
        rootfs=ops.Stored(digest=digest, snapshots=image.layers),
        config=config,
        ports=tuple(_port(text) for text in config.exposed_ports),
        default_args_set=False,
        image_ref="",
    )


def merge_config(old: ImageConfig, new: ImageConfig) -> ImageConfig:
    """Merge an image's configuration over the variables, labels and ports of another."""
    env, labels = old.env, old.labels
    for name, value in new.env:
        env = with_pair(env, name, value)
    for name, value in new.labels:
        labels = with_pair(labels, name, value)
    ports = tuple(dict.fromkeys((*old.exposed_ports, *new.exposed_ports)))
    return replace(
        new, env=env, labels=labels, exposed_ports=ports, onbuild=(*old.onbuild, *new.onbuild)
    )


def _port(text: str) -> service_definitions.PortSpec:
    number, _, protocol = text.partition("/")
    return service_definitions.PortSpec(
        port=int(number.partition("-")[0]), protocol=protocol.upper() or "TCP"
    )


@field("Container", "imageRef")
def image_ref(self: Container, _call: Call) -> str:
    """The canonical name and digest, right after `from`."""
    if not self.image_ref:
        message = (
            "Image reference can only be retrieved immediately after the 'Container.From' call. "
            "Error in fetching imageRef as the container image is changed"
        )
        raise QueryError(message)
    return self.image_ref


@field("Container", "import")
async def import_(self: Container, call: Call, *, source: File, tag: str = "") -> Container:
    """The image in an OCI or docker archive; it replaces the entire configuration.

    An archive that this machine has described to share results is not read.
    """
    described = await _described(call, source, self.config.platform) if not tag else None
    if described is not None:
        found = with_image(self, described, described.config)
        assert isinstance(found.rootfs, ops.Stored)
        call.session.solver.sharing.know_content(found.rootfs, source.tree)
        return replace(found, annotations=described.annotations)
    entry = file_in(await tree_of(call, source.tree), source.path)
    entry.open().close()  # nothing but a file
    image = await call.session.solver.in_thread(
        functools.partial(
            read_archive,
            call.session.store,
            Path(entry.location),
            tag=tag,
            platform=self.config.platform,
        )
    )
    return replace(with_image(self, image, image.config), annotations=image.annotations)


@field(
    "Container",
    "export",
    differs="no build time is recorded; an identical file is left untouched; "
    "a path that ends in a slash gets an OCI layout directory",
)
async def export(
    self: Container, call: Call, *, path: str, expand: bool = False, **form: Any
) -> str:
    """Write the image as an OCI archive and return its absolute path.

    A file that already holds the image stays untouched.
    """
    path = expand_variables(self, path, expand=expand)
    if (process := call.client.process) is not None:
        image = await assemble_image(call, self, **form)
        archive = functools.partial(write_archive, call.session.store, image)
        return await call.session.solver.in_thread(
            container_export.export_by, process, path, archive
        )
    target = host_path(call, path)
    write = write_layout if path.endswith("/") else write_archive
    image = await assemble_image(call, self, **form)
    with write_errors(f"failed to export to {target}", target):
        make_directories(target.parent)
    with call.session.journal.step(f"export {target}") as step:
        ports = ",".join(self.config.exposed_ports)
        step.attributes = {
            **facts_of(image),
            "layerline.path": str(target),
            "layerline.ports": ports,
        }
        if not await call.session.solver.in_thread(write, call.session.store, image, target):
            step.end(Status.CACHED)
    return str(target)


@field("Container", "asTarball")
async def as_tarball(self: Container, call: Call, **form: Any) -> File:
    """The image as an OCI archive, a file of the API."""
    image = await assemble_image(call, self, **form)
    solver, shared = call.session.solver, call.session.solver.context.shared
    if shared is None:
        name = await solver.in_thread(store_archive, call.session.store, image)
    else:
        name = await solver.in_thread(shared.supplier.promise_archive, image)
    tree = ops.Stored(digest=digest_of(["archive", image.root.digest]), snapshots=(name,))
    variants = form.get("platform_variants", ())
    if self.rootfs is not None and not variants:
        solver.sharing.know_content(tree, self.rootfs)
    return File(tree=tree, path=f"/{ARCHIVE}")


async def _described(call: Call, source: File, platform: Platform) -> Image | None:
    """The image of an archive that `asTarball` made; None for any other file."""
    solver, tree = call.session.solver, source.tree
    if solver.context.shared is None or not isinstance(tree, ops.Stored):
        return None
    if source.path != f"/{ARCHIVE}" or len(tree.snapshots) != 1:
        return None
    return await solver.in_thread(find_image, call.session.store, tree.snapshots[0], platform)


@field(
    "Container",
    "exportImage",
    differs="into docker, podman, nerdctl or containerd, the first that answers; the first three "
    "pull what they lack from a loopback port, or get an archive where they do not reach it",
)
async def export_image(self: Container, call: Call, *, name: str, **form: Any) -> None:
    """Load the image under a name into this machine's container engine."""
    require_host(call, "the container engine")
    reference = Reference.parse(name).with_default_tag()
    session = call.session
    environ = session.settings.environ
    found = await session.solver.in_thread(find_container_program, environ)
    served = ServedLayers(store=session.store, epoch=session.settings.source_date_epoch)
    image = await assemble_image(call, self, **form, served=served if found[0].pull else None)
    with session.journal.step(f"exportImage {name}") as step:
        done = f"loaded into {found[0].program} as {reference}"
        try:
            if found[0].pull:
                pulled = await session.solver.in_thread(
                    _pull, call, found, image, served, reference
                )
                size = format_size(sum(layer.size for layer in pulled))
                count = f"{len(pulled)} of {len(image.layers)} layers pulled, {size}"
                step.write(f"{done}: {count}\n".encode())
                return
        except ImageError as exc:
            step.write(f"{found[0].program} cannot pull, loading an archive: {exc}\n".encode())
            image = await assemble_image(call, self, **form)
        await session.solver.in_thread(_load_archive, call, found, image, reference)
        step.write(f"{done}\n".encode())


def _pull(
    call: Call,
    found: tuple[ContainerProgram, Path],
    image: AssembledImage,
    served: ServedLayers,
    reference: Reference,
) -> tuple[Descriptor, ...]:
    pulled = pull_into(found, image, served, reference, call.session.settings.environ)
    remember_image(served.store, image, reference, tars=served.tars)
    return pulled


def _load_archive(
    call: Call,
    found: tuple[ContainerProgram, Path],
    image: AssembledImage,
    reference: Reference,
) -> None:
    store = call.session.store
    with store.snapshots.draft() as draft:
        archive = draft.fs / ARCHIVE
        write_archive(store, image, archive, reference=reference)
        load(found, archive, call.session.settings.environ)
    remember_image(store, image, reference)


@field(
    "Host",
    "containerImage",
    differs="of docker, podman, nerdctl or containerd, the first that answers",
)
async def container_image(_self: Host, call: Call, *, name: str) -> Container:
    """An image of this machine's container engine, as it is now."""
    require_host(call, "the container engine")
    session = call.session
    environ = session.settings.environ
    found = await session.solver.in_thread(find_container_program, environ)

    def read() -> Image:
        with session.store.snapshots.draft() as draft:
            archive = draft.fs / ARCHIVE
            save(found, name, archive, environ)
            return read_archive(session.store, archive, platform=Platform.of_host())

    async def make() -> Container:
        with session.journal.step(f"containerImage {name}"):
            image = await session.solver.in_thread(read)
        empty = Container(config=image.config)
        return replace(with_image(empty, image, image.config), annotations=image.annotations)

    made: Container = await session.once(digest_of(["host.containerImage", name]), make)
    return made


def _reach(call: Call, place: Reference, service: Service | None) -> Reach | None:
    """What may be connected to; the tunnel to a service is the session's own."""
    port = place.registry.rpartition(":")[2] if service is not None else ""
    return call.reach.with_port(int(port)) if call.reach and port else call.reach


@field("Container", "publish", differs="no build time is recorded")
async def publish(
    self: Container,
    call: Call,
    *,
    address: str,
    registry_service: Service | None = None,
    **form: Any,
) -> str:
    """Push the image; the reference with its digest."""
    reference = Reference.parse(address)
    prefer_form(call.session, form.get("forced_compression"))
    image = await assemble_image(call, self, **form)
    place = await _reachable_reference(call, reference, registry_service)
    reach = _reach(call, place, registry_service)
    with call.session.journal.step(f"publish {address}") as step:
        ports = ",".join(self.config.exposed_ports)
        step.attributes = {**facts_of(image), "layerline.image": address, "layerline.ports": ports}
        publish_image = call.session.registries.publish
        await call.session.solver.in_thread(publish_image, image, place, reach)
        remember = functools.partial(remember_image, call.session.store, image, reference)
        await call.session.solver.in_thread(remember)
    return str(reference.with_digest(image.root.digest))


@field("Container", "withRegistryAuth")
async def with_registry_auth(
    self: Container, call: Call, *, address: str, username: str, secret: Secret
) -> Container:
    """Credentials for a registry, for the rest of the session."""
    password = await call.session.solver.in_thread(call.session.secrets.plaintext, secret.identity)
    call.session.registries.authorize(_registry(address), username, password.decode())
    return self


@field("Container", "withoutRegistryAuth")
def without_registry_auth(self: Container, call: Call, *, address: str) -> Container:
    """Forget the credentials of a registry."""
    call.session.registries.forget(_registry(address))
    return self


def _registry(address: str) -> str:
    """The registry host of an address, which may be a full reference or the host alone."""
    text = address.removeprefix("https://").removeprefix("http://")
    if "/" in text.rstrip("/"):
        return Reference.parse(text.rstrip("/")).registry
    return Reference.parse(f"{text.rstrip('/')}/x").registry
