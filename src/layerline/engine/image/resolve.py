"""Resolve references to images in the store: by digest, from a mirror or registry, or bootstrapped.

A tag is looked up at its registry each time. While no registry can be reached, the last known
digest of the tag is used, and a plain Debian or Ubuntu is bootstrapped from packages. A digest is
never replaced by another one: a bootstrapped base is used for it only if it has that digest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from layerline import command
from layerline.engine.image import manifests
from layerline.engine.image.assemble import Part, assemble
from layerline.engine.image.bootstrap import Recipe, bootstrap
from layerline.engine.image.config import History, ImageConfig, timestamp
from layerline.engine.image.layer_import import Image, import_image
from layerline.engine.image.meter import Meter
from layerline.engine.image.pack import keep_original, layer_blob, tar_digest
from layerline.engine.image.registry.repository import RawManifest, Repository
from layerline.engine.store.digest import parse_digest
from layerline.errors import (
    BootstrapFailed,
    ImageError,
    ImageNotFound,
    ProgramMissing,
    RegistryTimeout,
    RegistryUnreachable,
    StoreDamaged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerline.engine.image.manifests import Descriptor
    from layerline.engine.image.platform import Platform
    from layerline.engine.image.reference import Reference
    from layerline.engine.image.registry.connections import Registries
    from layerline.engine.store.index import Document
    from layerline.engine.store.store import Store

_TABLE = "image"


class SharedImages(Protocol):
    """What other machines have recorded of images."""

    def find(self, table: str, key: str) -> bool:
        """Look for a row; whether the store's index has it now."""

    def offer_image(self, table: str, key: str, documents: Sequence[bytes] = ()) -> None:
        """Let other machines know a row of the index; `documents` are those that it names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """Resolves references.

    `on_output` gets the output of a bootstrap, `on_bytes` how much of the layers was fetched, of
    how much.
    """

    store: Store
    registries: Registries
    on_output: Callable[[bytes], None] | None = None
    shared: SharedImages | None = None
    on_bytes: Callable[[int, int], None] = lambda _received, _expected: None

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image with its layers unpacked and its reference pinned by digest."""
        reference = reference.with_default_tag()
        try:
            return self._resolve(reference, platform)
        except ImageError as exc:
            message = f'failed to resolve image "{reference}" (platform: "{platform}"): {exc}'
            raise type(exc)(message) from exc

    def _resolve(self, reference: Reference, platform: Platform) -> Image:
        if reference.digest is not None and (
            known := self._from_store(reference, reference.digest, platform)
        ):
            return known
        try:
            return self._from_registry(reference, platform)
        except (RegistryUnreachable, RegistryTimeout) as exc:
            return self._without_registry(reference, platform, exc)

    def _from_registry(self, reference: Reference, platform: Platform) -> Image:
        place, fetched = self._ask(reference)
        digest = fetched.descriptor.digest
        image = self._from_store(reference, digest, platform)
        if image is None:
            image = replace(
                self._pull(place, fetched, platform), reference=reference.with_digest(digest)
            )
        self._remember_tag(reference, digest, platform)
        return image

    def _ask(self, reference: Reference) -> tuple[Repository, RawManifest]:
        failures: list[ImageError] = []
        for place in self.registries.places(reference):
            try:
                return place, place.manifest(reference.digest or reference.tag or "")
            except ImageError as exc:
                failures.append(exc)
        if not failures:
            raise ImageNotFound(str(reference))
        # A mirror without the image is nothing to report, one that fails is.
        broken = [each for each in failures[:-1] if not isinstance(each, ImageNotFound)]
        if not broken:
            raise failures[-1]
        message = f"{failures[-1]}; its mirror failed: {broken[0]}"
        raise type(failures[-1])(message) from failures[-1]

    def _pull(self, place: Repository, fetched: RawManifest, platform: Platform) -> Image:
        chosen = _choose(place, fetched, platform)
        manifest = manifests.parse_manifest(chosen.data, chosen.descriptor.media_type)
        raw = place.document(manifest.config)
        config = manifests.parse_json(raw, "image configuration")

        missing = {layer for layer in manifest.layers if not self.store.blobs.has(layer.digest)}
        meter = Meter(report=self.on_bytes, expected=sum(layer.size for layer in missing))

        def fetch(layer: Descriptor) -> None:
            place.fetch(self.store, layer, meter.watch(layer.digest))

        image = import_image(self.store, manifest, config, fetch, origin="registry")
        self.store.blobs.put(raw)
        self._remember(fetched.descriptor.digest, platform, chosen, image)
        return image

    def _without_registry(self, reference: Reference, platform: Platform, why: ImageError) -> Image:
        recipe = Recipe.of(replace(reference, digest=None))
        with self.store.locks.exclusive(f"bootstrap {reference}"):
            if (known := self._known(reference, platform)) is not None:
                return known
            if recipe is None:
                raise why
            try:
                return self._bootstrap(reference, recipe, platform)
            except (BootstrapFailed, ProgramMissing) as exc:
                message = f"{why}; {exc}"
                raise BootstrapFailed(message) from exc

    def _bootstrap(self, reference: Reference, recipe: Recipe, platform: Platform) -> Image:
        image, root = bootstrap_image(self.store, recipe, self.on_output)
        digest = root.descriptor.digest
        self._remember(digest, platform, root, image)
        if reference.digest not in (None, digest):
            message = (
                f"it was bootstrapped from packages instead, which now gives {digest}: reach a "
                "registry that has the digest, or pin this one"
            )
            raise BootstrapFailed(message)
        self._remember_tag(reference, digest, platform)
        return replace(image, reference=reference.with_digest(digest))

    def _known(self, reference: Reference, platform: Platform) -> Image | None:
        """What the store has: of a digest that image alone, else the last one of the tag."""
        if reference.digest is not None:
            return self._from_store(reference, reference.digest, platform)
        return self._from_store_by_tag(reference, platform)

    def _from_store_by_tag(self, reference: Reference, platform: Platform) -> Image | None:
        key = _tag_key(reference, platform)
        row = self._row(key)
        return (
            self._from_store(reference, str(row["digest"]), platform) if row is not None else None
        )

    def _from_store(self, reference: Reference, digest: str, platform: Platform) -> Image | None:
        row = self._row(_digest_key(digest, platform))
        if row is None:
            return None
        try:
            data = self.store.blobs.read(parse_digest(str(row["manifest"])))
            manifest = manifests.parse_manifest(data, str(row["media_type"]))
            raw = self.store.blobs.read(manifest.config.digest)
        except StoreDamaged:
            # The documents are gone: the image is fetched again, its layers need not be.
            return None
        if not all(self.store.blobs.is_available(layer.digest) for layer in manifest.layers):
            return None
        config = manifests.parse_json(raw, "image configuration")
        layers = row["layers"]
        return Image(
            config=ImageConfig.from_oci(config),
            layers=tuple(layers) if isinstance(layers, list) else (),
            diff_ids=manifests.check_config(config, manifest),
            blobs=manifest.layers,
            annotations=manifest.annotations,
            reference=reference.with_digest(digest),
            origin="store",
        )

    def _row(self, key: str) -> Document | None:
        """What this machine knows under a key, or another."""
        row = self.store.index.get(_TABLE, key)
        if row is None and self.shared is not None and self.shared.find(_TABLE, key):
            return self.store.index.get(_TABLE, key)
        return row

    def _remember(
        self, digest: str, platform: Platform, manifest: RawManifest, image: Image
    ) -> None:
        self.store.blobs.put(manifest.data)
        row: dict[str, object] = {
            "manifest": manifest.descriptor.digest,
            "media_type": manifest.descriptor.media_type,
            "layers": list(image.layers),
        }
        key = _digest_key(digest, platform)
        self.store.index.put(_TABLE, key, row, snapshots=image.layers)
        if self.shared is not None:
            parsed = manifests.parse_manifest(manifest.data, manifest.descriptor.media_type)
            config = self.store.blobs.read(parsed.config.digest)
            self.shared.offer_image(_TABLE, key, [manifest.data, config])

    def _remember_tag(self, reference: Reference, digest: str, platform: Platform) -> None:
        if reference.tag is not None and reference.digest is None:
            key = _tag_key(reference, platform)
            self.store.index.put(_TABLE, key, {"digest": digest})
            if self.shared is not None:
                self.shared.offer_image(_TABLE, key)


def bootstrap_image(
    store: Store, recipe: Recipe, on_output: Callable[[bytes], None] | None = None
) -> tuple[Image, RawManifest]:
    """Bootstrap a base image into the store; return the image and its manifest."""
    with store.snapshots.draft() as draft:
        bootstrap(recipe, draft.fs, scratch=store.scratch, on_output=on_output)
        # The name is derived from the content: the same packages give the same snapshot.
        name = "base-" + tar_digest(draft.fs).removeprefix("sha256:")
        snapshot = draft.commit(name)
    blob = layer_blob(store, snapshot)
    keep_original(store, snapshot, blob)
    config = ImageConfig(
        env=(("PATH", command.DEFAULT_PATH),),
        history=(History(created=timestamp(0), created_by=f"mmdebstrap {recipe.suite}"),),
    )
    made = assemble(store, [Part(config=config, layers=(snapshot,))])
    for _, data in made.documents:
        store.blobs.put(data)
    image = Image(
        config=config,
        layers=(snapshot,),
        diff_ids=(blob.diff_id,),
        blobs=made.layers,
        origin="bootstrap",
    )
    return image, RawManifest(descriptor=made.root, data=made.document(made.root.digest))


def _choose(place: Repository, fetched: RawManifest, platform: Platform) -> RawManifest:
    for _ in range(manifests.DEEPEST_INDEX):
        if fetched.descriptor.media_type not in manifests.INDEX_TYPES:
            break
        index = manifests.parse_index(fetched.data, fetched.descriptor.media_type)
        chosen = manifests.choose(index.manifests, platform)
        found = place.manifest(chosen.digest)
        manifests.verify(found.data, chosen)
        fetched = RawManifest(descriptor=chosen, data=found.data)
    return fetched


def _tag_key(reference: Reference, platform: Platform) -> str:
    return f"tag {reference.name}:{reference.tag} {platform}"


def _digest_key(digest: str, platform: Platform) -> str:
    return f"digest {digest} {platform}"
