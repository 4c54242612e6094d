"""The functions that every project has; a module's object inherits them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import dagger
from dagger import DefaultPath, Doc, Ignore, dag, function

from layerline.pipeline import ci_jobs, dockerfile, lock, report, report_markdown, target_lock
from layerline.pipeline.attachments import FULCIO, REKOR, Signer
from layerline.pipeline.cold_start import describe
from layerline.pipeline.errors import PipelineError
from layerline.pipeline.image_start import start, with_start
from layerline.pipeline.plan import earlier_builds
from layerline.pipeline.probe import Evidence
from layerline.pipeline.project import Project
from layerline.pipeline.provenance import Origin
from layerline.pipeline.publication import Publication, bills
from layerline.pipeline.source import NOT_LOADED, docker_patterns
from layerline.pipeline.spans import span, write
from layerline.pipeline.wheels import Wheels

# The SDK's types lack the parameter.
uncached_function = partial(function, cache="never")
ImageName = Annotated[str, Doc("An image of layerline.toml")]
TargetName = Annotated[str, Doc("A target of layerline.toml")]


@dataclass(kw_only=True)
class PipelineFunctions:
    """The constructor's arguments and the functions; a module's `@object_type` inherits both.

    The arguments are attributes, not fields of the SDK: these would be listed as functions.
    """

    source: Annotated[
        dagger.Directory,
        DefaultPath("/"),
        Ignore(list(NOT_LOADED)),
        Doc("Project directory with layerline.toml and locks"),
    ]
    index_url: Annotated[str, Doc("Package index to use instead of the default")] = ""
    extra_index_url: Annotated[
        str, Doc("Package index to use in addition; several are separated by spaces")
    ] = ""
    wheelhouse: Annotated[
        list[dagger.Directory] | None, Doc("Directory of wheels to use in addition to the indexes")
    ] = None
    ca_bundle: Annotated[
        dagger.File | None, Doc("Certificates to trust in downloads, instead of the image's")
    ] = None
    index_credentials: Annotated[
        dagger.Secret | None,
        Doc("USER:PASSWORD for the host of --index-url, or the text of a netrc file"),
    ] = None
    snapshot: Annotated[
        list[str] | None,
        Doc("Where the distribution's packages come from, instead of base.snapshot"),
    ] = None
    earlier_locks: Annotated[
        dagger.Directory | None,
        Doc("The locks before their base was upgraded; their layers stay, on the newer base"),
    ] = None
    offline: Annotated[bool, Doc("Use only the caches and the store, not the network")] = False

    @function
    async def build(self, image: ImageName) -> dagger.Container:
        """Build an image; its layers and the image itself must pass their probes."""
        return await self.project().image(image)

    @function
    async def build_all(self) -> dagger.Directory:
        """Build every image, each layer once, as a directory of OCI archives."""
        project = self.project()
        definition = await project.definition()
        archives = dag.directory()
        for target in sorted(definition.targets):
            images = definition.images_of(target)
            if not images:
                continue
            assembly = await project.assembly(definition, target)
            for name in sorted(images):
                built = await assembly.image(name)
                archives = archives.with_file(f"{name}.tar", built.as_tarball())
        return await write(archives, "the archives")

    @function
    async def validate(self, image: ImageName) -> str:
        """Run the probes of an image and its layers, and list what each found."""
        found = await (await self.project().assembly_of(image)).evidence(image)
        return _listing(found)

    @function
    async def evidence(self, image: ImageName) -> dagger.File:
        """Save what the probes of an image found, with seconds and bytes, as JSON."""
        assembly = await self.project().assembly_of(image)
        found = await with_start(assembly, image, await assembly.evidence_with_inputs(image))
        text = json.dumps(found, indent=1) + "\n"
        return await write(dag.file(f"{image}.evidence.json", text), f"the evidence of {image}")

    @uncached_function
    async def cold_start(
        self,
        image: ImageName,
        fresh: Annotated[bool, Doc("Measure again even if nothing has changed")] = False,
    ) -> str:
        """Start an image five times until its health check passes; compare with its budgets."""
        mark = datetime.now(UTC).isoformat() if fresh else ""
        assembly = await self.project().assembly_of(image)
        return f"{image}: {describe(await start(assembly, image, fresh=mark))}\n"

    @function
    async def build_layer(
        self,
        layer: Annotated[str, Doc("A layer, as `plan` names it")],
        target: TargetName,
    ) -> str:
        """Build a layer of a target, run its probes, and list what each found."""
        project = self.project()
        assembly = await project.assembly(await project.definition(), target)
        return _listing([await assembly.layer(layer)])

    @function
    async def plan(
        self,
        image: Annotated[str, Doc("An image of layerline.toml; all without it")] = "",
        earlier: Annotated[
            list[dagger.File] | None, Doc("Output of `evidence` for an earlier build of each image")
        ] = None,
        ci: Annotated[str, Doc("List the jobs of a CI system instead: github, gitlab, json")] = "",
    ) -> str:
        """List what building images would run and why, compared with an earlier build."""
        before = earlier_builds([json.loads(await each.contents()) for each in earlier or ()])
        plans = await self.project().plans([image] if image else [], before)
        if ci:
            return ci_jobs.render(ci_jobs.of_plans(plans), ci)
        if len(plans) == 1:
            return plans[0].text()
        return "\n".join(f"# {each.image} ({each.target})\n{each.text()}" for each in plans)

    @uncached_function  # what an index and a mirror offer may be newer than an earlier answer
    async def lock(
        self,
        target: TargetName,
        upgrade: Annotated[
            list[str] | None, Doc("Packages to upgrade to their newest version; 'all' for all")
        ] = None,
        upgrade_base: Annotated[
            bool, Doc("Pin the newest base and the distribution's packages, by their digests")
        ] = False,
        check: Annotated[bool, Doc("Fail if the lock is out of date, and change nothing")] = False,
        format: Annotated[
            str, Doc("What is made: requirements, or pylock (PEP 751) for other tools")
        ] = "requirements",
    ) -> dagger.File:
        """Resolve all groups of a target together; save the result as locks/<target>.txt."""
        return await target_lock.write(
            self.project(),
            target,
            upgrade=upgrade or [],
            upgrade_base=upgrade_base,
            check=check,
            format=format,
        )

    @uncached_function  # the base may be newer than at an earlier call
    async def patch(self, image: ImageName) -> dagger.Container:
        """Put the newest base under the layers of an image, and run all probes again.

        Installs no package of Python. Without --earlier-locks the base is the newest one, and the
        lock at hand that of the layers.
        """
        project = self.project()
        if project.earlier is None:
            definition = await project.definition()
            project = await project.upgraded(definition.image(image).target)
        return await project.image(image)

    @uncached_function  # the registry may have lost since what an earlier call has sent
    async def publish(
        self,
        image: ImageName,
        address: Annotated[str, Doc("Where to push: registry/repository:tag")],
        compression: Annotated[str, Doc("Compression of the layers: zstd or gzip")] = "zstd",
        attach: Annotated[
            bool, Doc("Attach provenance, bills of materials and results of probes (OCI referrers)")
        ] = True,
        sign_key: Annotated[
            dagger.Secret | None, Doc("Private key in PEM (Ed25519, ECDSA P-256) that signs these")
        ] = None,
        identity_token: Annotated[
            dagger.Secret | None,
            Doc("Token of the CI job (OpenID Connect) to sign with an identity instead of a key"),
        ] = None,
        fulcio_url: Annotated[str, Doc("Who certifies the identity")] = FULCIO,
        rekor_url: Annotated[str, Doc("The log of the signatures by an identity")] = REKOR,
        registry_login: Annotated[
            dagger.Secret | None,
            Doc("USER:PASSWORD for the registry, or the text of docker's config.json"),
        ] = None,
        commit: Annotated[str, Doc("The commit that the provenance names")] = "",
        repository: Annotated[str, Doc("URL of the git repository that has the commit")] = "",
        version: Annotated[
            str, Doc("Version that the provenance names; that of pyproject.toml by default")
        ] = "",
        builder: Annotated[str, Doc("URI of who builds, e.g. that of a CI workflow")] = "",
    ) -> str:
        """Build an image and push it with what is said of it; prints the address and digest."""
        publication = Publication(
            project=self.project(),
            image=image,
            compression=compression,
            login=registry_login,
            signer=Signer(
                key=None if identity_token else sign_key,
                token=identity_token,
                fulcio=fulcio_url,
                rekor=rekor_url,
            ),
            origin=Origin(repository=repository, commit=commit, version=version, builder=builder),
        )
        return await publication.publish(address, attached=attach)

    @function
    async def sbom(
        self,
        image: ImageName,
        format: Annotated[str, Doc("What is made: cyclonedx or spdx")] = "cyclonedx",
    ) -> dagger.File:
        """List the contents of an image as a CycloneDX or an SPDX document in JSON."""
        if format not in _BILLS:
            message = f"unknown format {format!r}: use {' or '.join(_BILLS)}"
            raise PipelineError(message)
        project = self.project()
        definition = await project.definition()
        target = definition.image(image).target
        pins = lock.parse(await project.lock_text(definition, target))
        made = await bills(await project.image(image), image, target, pins)
        number, suffix = _BILLS[format]
        text = json.dumps(made[number], indent=1) + "\n"
        return await write(dag.file(f"{image}.{suffix}.json", text), f"the bill of {image}")

    @uncached_function  # what is known changes, and exceptions end
    async def audit(
        self,
        image: Annotated[str, Doc("An image of layerline.toml; all without it")] = "",
        osv: Annotated[
            dagger.Directory | None, Doc("OSV records: JSON files, or ZIP archives of them")
        ] = None,
        osv_url: Annotated[str, Doc("ZIP archive of OSV records, instead of osv.dev's")] = "",
        tracker: Annotated[
            dagger.File | None, Doc("JSON document of Debian's security tracker")
        ] = None,
        tracker_url: Annotated[str, Doc("URL of that document, instead of Debian's")] = "",
        format: Annotated[str, Doc("What is printed: text, json, sarif or markdown")] = "text",
    ) -> str:
        """List known vulnerabilities of the images' packages; as text, fail if one is refused.

        Other formats are printed either way. Images are built only where licences are denied.
        """
        # These need libraries that no other function needs.
        from layerline.pipeline import audit, audit_formats, image_audit
        from layerline.pipeline.advisories import Advisories

        render = audit_formats.choose(format)
        advisories = Advisories(
            osv=osv,
            osv_url=osv_url,
            tracker=tracker,
            tracker_url=tracker_url,
            offline=self.offline,
        )
        made = await image_audit.audit(self.project(), [image] if image else [], advisories)
        text = render(made)
        if format == "text" and audit.is_refused(made):
            raise audit.AuditFailed(text)
        return text

    @function
    async def dockerfiles(self) -> dagger.Directory:
        """Render the images as Dockerfiles for BuildKit; save them as dockerfiles/."""
        project = self.project()
        definition = await project.definition()
        targets = sorted({image.target for image in definition.images.values()})
        locks = {target: await project.lock_text(definition, target) for target in targets}
        with span("read what images and docker leave out"):
            ignored = await docker_patterns(self.source)
        made = dag.directory()
        for path, text in dockerfile.render(definition, locks, ignored=ignored).items():
            made = made.with_new_file(path, text)
        for path in dockerfile.own_probes(definition):
            name = path.rpartition("/")[2]
            made = made.with_file(f"probes/{name}", self.source.file(path))
        return await write(made, "the Dockerfiles")

    @function
    async def report(
        self,
        image: ImageName,
        earlier: Annotated[
            dagger.File | None, Doc("An earlier build to compare with, as for `plan`")
        ] = None,
        commit: Annotated[str, Doc("The commit that the report names")] = "",
        audit: Annotated[
            dagger.File | None, Doc("Output of `audit --format=json`, to be in the report")
        ] = None,
        format: Annotated[str, Doc("What is made: html, json, markdown or all")] = "all",
    ) -> dagger.Directory:
        """Build an image and report on it: report.html, a page of its own, report.md, report.json.

        report.md is for a pull request.
        """
        wanted = _formats(format)
        project = self.project()
        assembly = await project.assembly_of(image)
        before = await _read_evidence(earlier)
        plan = await assembly.plan_build(image, before)
        built, found = await assembly.image_with_evidence(image)
        found = await with_start(assembly, image, found)
        made = report.document(
            image,
            assembly.target,
            found,
            plan,
            earlier=before,
            audit=json.loads(await audit.contents()) if audit is not None else None,
            origin={
                "bytecode": assembly.definition.image(image).bytecode,
                "project": await project.name(),
                "commit": commit,
                "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
                **await assembly.describe(built),
            },
        )
        files = dag.directory()
        for name, render in wanted.items():
            files = files.with_new_file(name, render(made))
        return await write(files, f"the report on {image}")

    def project(self) -> Project:
        """The project that the constructor's arguments describe."""
        return Project(
            source=self.source,
            wheels=Wheels(
                index_url=self.index_url,
                extra_index_urls=tuple(self.extra_index_url.split()),
                wheelhouse=_merged(self.wheelhouse or []),
            ),
            ca_bundle=self.ca_bundle,
            credentials=self.index_credentials,
            offline=self.offline,
            snapshot=tuple(self.snapshot or ()),
            earlier=self.earlier_locks,
        )


# Which of `bills` it is, and the file's suffix.
_BILLS = {"cyclonedx": (0, "cdx"), "spdx": (1, "spdx")}
_REPORTS: Mapping[str, tuple[str, Callable[[report.Report], str]]] = {
    "html": ("report.html", report.page),
    "json": ("report.json", lambda made: json.dumps(made, indent=1) + "\n"),
    "markdown": ("report.md", report_markdown.text),
}


def _formats(wanted: str) -> dict[str, Callable[[report.Report], str]]:
    """The files of a report and what renders them."""
    if wanted != "all" and wanted not in _REPORTS:
        message = f"unknown format {wanted!r}: use {', '.join(_REPORTS)} or all"
        raise PipelineError(message)
    return dict(found for name, found in _REPORTS.items() if wanted in (name, "all"))


def _merged(directories: Sequence[dagger.Directory]) -> dagger.Directory | None:
    """The files of all directories of wheels; None without any."""
    found = None
    for each in directories:
        found = each if found is None else found.with_directory("/", each)
    return found


def _listing(found: Sequence[Evidence]) -> str:
    """What each probe found, a line each."""
    return "".join(
        f"{each['subject']}: {one['probe']} {one['result']} in {one['seconds']} s: "
        f"{one['output']}\n"
        for each in found
        for one in each["probes"]
    )


async def _read_evidence(earlier: dagger.File | None) -> list[Evidence]:
    """The evidence of an earlier build; empty where none was given."""
    known: list[Evidence] = [] if earlier is None else json.loads(await earlier.contents())
    return known
