"""Small images in a registry, and statements that are attached to them as `publish` does."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from layerline import command
from layerline.pipeline import provenance
from layerline.pipeline.programs.attachment import keyless, main

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SOURCE = Path(__file__).parents[1] / "src"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Without the certificates of the system, which take longer to read than a test.
CLIENT = httpx.Client(verify=False, trust_env=False, timeout=60)
PROBES = [
    {"subject": "core", "packages": [], "probes": [{"probe": "imports", "result": "passed"}]},
    {"subject": "image small", "packages": [], "probes": [{"probe": "owners", "result": "passed"}]},
]
LABEL = json.dumps(PROBES, sort_keys=True, separators=(",", ":"))
LOCK = "numpy==2.4.6 \\\n    --hash=sha256:" + "a" * 64 + "\n"
BASE = "docker.io/library/debian:bookworm-slim@sha256:" + "b" * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository `team/app` at a registry; `place` is a directory for files of the test."""

    registry: str
    place: Path
    name: str = "team/app"
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.registry}/v2/{self.name}/"

    def address(self, tag: str = "1.0") -> str:
        return f"{self.registry}/{self.name}:{tag}"

    def get(self, path: str) -> httpx.Response:
        accept = f"{MANIFEST}, application/vnd.oci.image.index.v1+json"
        return CLIENT.get(self.url + path, headers={"Accept": accept})

    def put_blob(self, data: bytes) -> dict[str, Any]:
        """Upload a blob; its digest and size."""
        digest = digest_of(data)
        place = CLIENT.post(self.url + "blobs/uploads/").headers["Location"]
        joined = "&" if "?" in place else "?"
        CLIENT.put(f"{place}{joined}digest={digest}", content=data).raise_for_status()
        return {"digest": digest, "size": len(data)}

    def put_manifest(self, which: str, document: Mapping[str, Any]) -> str:
        """Put a manifest or an index; its digest."""
        data = json.dumps(document).encode()
        kind = {"Content-Type": str(document["mediaType"])}
        which = which or digest_of(data)
        CLIENT.put(f"{self.url}manifests/{which}", content=data, headers=kind).raise_for_status()
        return digest_of(data)

    def push(self, image: Image, tag: str = "1.0") -> str:
        """Push an image; its digest."""

        def put(data: bytes, kind: str) -> dict[str, Any]:
            return {"mediaType": kind, **self.put_blob(data)}

        return self.put_manifest(tag, image.manifest(put))

    def attach(
        self,
        digest: str,
        *,
        tag: str = "1.0",
        key: Path | None = None,
        login: str = "",
        token: str = "",
        services: Sequence[str] = ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        status: int = 0,
        request: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Run the program that attaches, as it runs in a container; what it attached."""
        secrets = self.place / "secrets"
        secrets.mkdir(exist_ok=True)
        for name in ("login", "key", "token"):
            (secrets / name).unlink(missing_ok=True)
        if key is not None:
            (secrets / "key").write_bytes(key.read_bytes())
        for name, text in (("login", login), ("token", token)):
            if text:
                (secrets / name).write_text(text)
        asked = self.place / "request.json"
        asked.write_text(json.dumps(request or request_of()))
        if status == 0:  # as the program does it, without the start of an interpreter
            content = json.loads(asked.read_text())
            return main.run(
                self.address(tag), digest, content, secrets, keyless.Services(*services)
            )
        argv = [sys.executable, "-m", "layerline.pipeline.programs.attachment.main"]
        argv += [self.address(tag), digest, str(asked), str(secrets), *services]
        done = command.run(argv, cwd=SOURCE, expect=(status,), timeout=60)
        return [{"error": done.stderr.decode()}]

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """What is attached to an image, as the fallback tag of the registry has it."""
        found = self.get(f"manifests/{digest.replace(':', '-')}")
        return list(found.json()["manifests"]) if found.status_code == 200 else []

    def content(self, referrer: str) -> bytes:
        """The bytes of what is attached."""
        layer = self.get(f"manifests/{referrer}").json()["layers"][0]
        data = self.get(f"blobs/{layer['digest']}").content
        return gzip.decompress(data) if layer["mediaType"].endswith("+gzip") else data


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: the files of each layer, and labels."""

    layers: Sequence[Mapping[str, str]] = ({"etc/base": "1"}, {"opt/venv/wheel.py": "x = 1\n"})
    labels: Mapping[str, str] = field(default_factory=lambda: {"layerline.evidence": LABEL})

    def manifest(self, put: Callable[[bytes, str], dict[str, Any]]) -> dict[str, Any]:
        """The manifest; `put` takes each blob with its media type and gives its descriptor."""
        tars = [layer_of(files) for files in self.layers]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": dict(self.labels)},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in tars]},
        }
        kind = "application/vnd.oci.image.layer.v1.tar+gzip"
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [put(gzip.compress(each, mtime=0), kind) for each in tars],
        }


def build_of(**changes: Any) -> provenance.Build:  # noqa: ANN401
    """What the pipeline says of a build."""
    values = {
        "image": "small",
        "target": "cpu",
        "base": BASE,
        "lock": LOCK,
        "definition": "[base]\n",
        "compression": "gzip",
        "started": "2026-11-30T10:00:00Z",
        "finished": "2026-11-30T10:01:00Z",
        "files": {"source": {"src/a.py": "sha256:" + "c" * 64}},
        "settings": {"command": ["python"], "env": {}},
        "inputs": {"installer": "uv==1"},
        "origin": provenance.Origin(version="1.0.0"),
    }
    return provenance.Build(**{**values, **changes})


def request_of(build: provenance.Build | None = None) -> dict[str, Any]:
    """What `publish` hands to the program."""
    build = build or build_of()
    statements = [
        (provenance.PROVENANCE, provenance.predicate(build)),
        (provenance.TESTS, provenance.tests(LABEL, build.image, build.lock)),
    ]
    return {
        "statements": [{"predicateType": kind, "predicate": each} for kind, each in statements],
        "documents": [
            {
                "artifactType": "application/vnd.layerline.lock.v1",
                "title": "locks/cpu.txt",
                "text": build.lock,
            }
        ],
    }


def layer_of(files: Mapping[str, str]) -> bytes:
    """A tar of files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


def new_key(place: Path, name: str, algorithm: str = "ed25519") -> tuple[Path, Path]:
    """A private and a public key in PEM."""
    private, public = place / f"{name}.pem", place / f"{name}.pub"
    options = ["-pkeyopt", "ec_paramgen_curve:P-256"] if algorithm == "EC" else []
    command.run(["openssl", "genpkey", "-algorithm", algorithm, *options, "-out", private])
    command.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public])
    return private, public


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
