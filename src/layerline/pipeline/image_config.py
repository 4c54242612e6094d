"""What an image is in addition to its layers: its source, and how it starts."""

import dagger

from layerline.pipeline.definition import Definition, Image

APP = "/app"
EPOCH = 315532800


def with_source(
    container: dagger.Container, spec: Image, files: dagger.Directory
) -> dagger.Container:
    """Add the source's files and the image's directories, which are created empty, never copied.

    All have one timestamp instead of those of the checkout.
    """
    for name in sorted(spec.directories):
        files = files.with_new_directory(name, permissions=0o755)
    owner = f"{spec.user}:{spec.user}"
    return container.with_directory(APP, files.with_timestamps(EPOCH), owner=owner)


def configure(
    container: dagger.Container, name: str, spec: Image, definition: Definition
) -> dagger.Container:
    """Set the image's environment, command, user and labels."""
    for key, value in sorted(spec.env.items()):
        container = container.with_env_variable(key, value)
    for port in sorted(spec.ports):
        container = container.with_exposed_port(port)
    if spec.healthcheck:
        container = container.with_docker_healthcheck(list(spec.healthcheck))
    return (
        container.with_workdir(APP)
        .with_user(spec.user)
        .with_entrypoint(list(spec.entrypoint))
        .with_default_args(list(spec.command))
        .with_label("org.opencontainers.image.title", name)
        .with_label("org.opencontainers.image.base.name", definition.base.image)
        .with_label("layerline.target", spec.target)
    )
