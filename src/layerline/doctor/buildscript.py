"""A readable build.sh for people who stay with docker: check, clean, build, test, summary."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from layerline.doctor.subject import GB

if TYPE_CHECKING:
    from layerline.doctor.subject import Subject

_SCRIPT = """\
#!/bin/sh
# Builds the image {image} with docker and tries it.
# Written by `layerline doctor --generate-script`.
#
#   ./build.sh            check, build, test
#   ./build.sh --clean    also prune docker's build cache first, down to {keep} GB
set -eu
cd "$(dirname "$0")"

IMAGE=${{IMAGE:-{image}}}
DOCKERFILE={dockerfile}
WANTED_GB={wanted}

die() {{
    printf 'build.sh: %s\\n' "$*" >&2
    exit 1
}}

echo '1/4 prerequisites'
command -v docker >/dev/null || die 'docker is not installed.'
docker info >/dev/null 2>&1 || die 'the docker daemon does not answer: sudo systemctl start docker'
[ -f "$DOCKERFILE" ] || die "$DOCKERFILE is not here."
root=$(docker info --format '{{{{.DockerRootDir}}}}')
[ -d "$root" ] || root=.
free=$(df -Pk "$root" | awk 'NR == 2 {{ print int($4 / 1000000) }}')
[ "$free" -ge "$WANTED_GB" ] || die "$free GB free on $root, $WANTED_GB GB are needed."

echo '2/4 clean'
if [ "${{1-}}" = --clean ]; then
    docker builder prune --force --keep-storage {keep}GB
fi

echo '3/4 build'
began=$(date +%s)
{buildkit}docker build --file "$DOCKERFILE" --tag "$IMAGE" .
took=$(($(date +%s) - began))

echo '4/4 test'
docker run --rm --network none "$IMAGE" {test}

size=$(docker image inspect --format '{{{{.Size}}}}' "$IMAGE")
echo "built $IMAGE in $took s, $((size / 1000000)) MB"
"""
_KEEP_GB = 10


def generate_build_script(subject: Subject) -> str:
    """The script for the project's first Dockerfile."""
    dockerfile = subject.dockerfiles[0] if subject.dockerfiles else None
    texts = [each.text for each in dockerfile.instructions] if dockerfile else []
    mounts = any(each.flag("mount") for each in dockerfile.instructions) if dockerfile else False
    python = any("python" in text.lower() for text in texts)
    return _SCRIPT.format(
        image=f"{_image_name(subject.project.name)}:latest",
        dockerfile=shlex.quote(dockerfile.path if dockerfile else "Dockerfile"),
        wanted=subject.limits.free // GB,
        keep=_KEEP_GB,
        buildkit="DOCKER_BUILDKIT=1 " if mounts else "",
        test="python3 -c 'import sys; print(sys.version)'" if python else "true",
    )


def _image_name(text: str) -> str:
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in text.lower())
    return kept.strip("-") or "image"
