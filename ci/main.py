"""The functions that users call: each image as a container to run, export or publish."""

import json
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import dagger
from dagger import DefaultPath, Doc, Ignore, dag, field, function, object_type

from ci.modules import dockerfile, lock, report, sbom, trials
from ci.modules.cloudrun import Deployment
from ci.modules.complaint import FILE
from ci.modules.definition import Definition, read
from ci.modules.environment import PYTHON, Environment, program
from ci.modules.image import APP, Assembly
from ci.modules.layer import INSTALLER, partition
from ci.modules.network import network
from ci.modules.probe import Evidence
from ci.modules.resolution import resolved
from ci.modules.trial import told
from ci.modules.wheels import Wheels
from ci.modules.workload import Workload, watching, with_model

NOT_SOURCE = [
    *(".*", "**/__pycache__", "**/*.pyc", "*.tar"),
    *("benchmarks", "data", "dist", "dockerfiles", "outputs"),
]

# Whether a test has to run again its container knows. The SDK's types lack the parameter.
function_run_anew = partial(function, cache="never")
Junit = Annotated[bool, Doc("Give JUnit XML instead, whether the tests pass or fail")]
Fresh = Annotated[bool, Doc("Run the tests again though nothing has changed")]


@object_type
class Layerline:
    """Machine-learning images, built and validated layer by layer from a layerline.toml."""

    source: Annotated[
        dagger.Directory,
        DefaultPath("/"),
        Ignore(NOT_SOURCE),
        Doc("The project's source, with its layerline.toml and locks"),
    ] = field()
    index_url: Annotated[str, Doc("Package index to use instead of the default")] = field(
        default=""
    )
    extra_index_url: Annotated[str, Doc("Package index to use beside it")] = field(default="")
    wheelhouse: Annotated[
        dagger.Directory | None, Doc("Directory of wheels to use beside the indexes")
    ] = field(default=None)
    ca_bundle: Annotated[
        dagger.File | None, Doc("Certificates to trust in downloads, instead of the image's")
    ] = field(default=None)
    index_credentials: Annotated[
        dagger.Secret | None,
        Doc("USER:PASSWORD for the host of --index-url, or the text of a netrc file"),
    ] = field(default=None)
    offline: Annotated[bool, Doc("Use what the caches and the store hold, and no network")] = field(
        default=False
    )

    @function
    async def build(
        self, image: Annotated[str, Doc("An image of layerline.toml")]
    ) -> dagger.Container:
        """Build an image; its layers and the whole must pass their probes."""
        return await self._image(image)

    @function
    async def build_train_cuda(self) -> dagger.Container:
        """Build the training image for NVIDIA GPUs: PyTorch, JAX and computer vision."""
        return await self._image("train-cuda")

    @function
    async def build_train(self) -> dagger.Container:
        """Build the training image for machines without a GPU."""
        return await self._image("train")

    @function
    async def build_api(self) -> dagger.Container:
        """Build the image of the inference service."""
        return await self._image("api")

    @function
    async def build_api_cloudrun(self) -> dagger.Container:
        """Build the image of the inference service for Cloud Run."""
        return await self._image("api-cloudrun")

    @function
    async def build_drift_api(self) -> dagger.Container:
        """Build the image of the drift service."""
        return await self._image("drift-api")

    @function
    async def build_dev(self) -> dagger.Container:
        """Build the development image: train-cuda's layers and Jupyter."""
        return await self._image("dev")

    @function
    async def build_all(self) -> dagger.Directory:
        """Build every image, each layer once; gives a directory of OCI archives."""
        definition = await self._definition()
        archives = dag.directory()
        for target in sorted(definition.targets):
            images = definition.images_of(target)
            if not images:
                continue
            assembly = await self._assembly(definition, target)
            for name in sorted(images):
                built = await assembly.image(name)
                archives = archives.with_file(f"{name}.tar", built.as_tarball())
        return archives

    @function
    async def validate(self, image: Annotated[str, Doc("An image of layerline.toml")]) -> str:
        """Run the probes of an image and of its layers; says what each found."""
        found = await (await self._assembly_of(image)).evidence(image)
        return "".join(
            f"{each['subject']}: {one['probe']} {one['result']} in {one['seconds']} s: "
            f"{one['output']}\n"
            for each in found
            for one in each["probes"]
        )

    @function
    async def evidence(
        self, image: Annotated[str, Doc("An image of layerline.toml")]
    ) -> dagger.File:
        """What the probes of an image found, with seconds and bytes, as JSON."""
        found = await (await self._assembly_of(image)).record(image)
        return dag.file(f"{image}.evidence.json", json.dumps(found, indent=1) + "\n")

    @function
    async def plan(
        self,
        image: Annotated[str, Doc("An image of layerline.toml")],
        earlier: Annotated[
            dagger.File | None, Doc("What `evidence` gave for an earlier build")
        ] = None,
    ) -> str:
        """Say what building an image would run and why, compared with an earlier build of it."""
        planned = await (await self._assembly_of(image)).planned(image, await _recorded(earlier))
        return planned.text()

    @function
    async def lock(
        self,
        target: Annotated[str, Doc("A target of layerline.toml")],
        upgrade: Annotated[
            list[str] | None, Doc("Packages to take in their newest version; 'all' for all")
        ] = None,
        check: Annotated[bool, Doc("Fail if the lock is not what this would give")] = False,
    ) -> dagger.File:
        """Resolve all groups of a target together; save the result as locks/<target>.txt."""
        definition = await self._definition()
        current = await self._lock_text(target)
        environment = await self._environment(definition, target, current)
        made = await resolved(environment, definition, current=current, upgrade=upgrade or [])
        if check and await made.contents() != current:
            message = f"{lock.path(target)} does not fit {FILE}; make it anew with `lock`"
            raise lock.LockError(message)
        return made

    @function
    async def publish(
        self,
        image: Annotated[str, Doc("An image of layerline.toml")],
        address: Annotated[str, Doc("Where to: registry/repository:tag")],
        compression: Annotated[str, Doc("Of layers: zstd or gzip")] = "zstd",
    ) -> str:
        """Build an image and push it; gives the address with its digest."""
        built = await self._image(image)
        chosen = {
            "zstd": dagger.ImageLayerCompression.Zstd,
            "gzip": dagger.ImageLayerCompression.Gzip,
        }[compression]
        return await built.publish(address, forced_compression=chosen)

    @function
    async def sbom(self, image: Annotated[str, Doc("An image of layerline.toml")]) -> dagger.File:
        """What an image consists of, as a CycloneDX document in JSON."""
        definition = await self._definition()
        target = definition.image(image).target
        built = await self._image(image)
        said = await built.with_exec([PYTHON, "-c", program("metadata.py")]).stdout()
        pins = lock.parse(await self._lock_text(target))
        made = sbom.document(image, target, json.loads(said), pins)
        return dag.file(f"{image}.cdx.json", json.dumps(made, indent=1) + "\n")

    @function
    async def dockerfiles(self) -> dagger.Directory:
        """The images as plain Dockerfiles for BuildKit; save them as dockerfiles/."""
        definition = await self._definition()
        targets = sorted({image.target for image in definition.images.values()})
        locks = {target: await self._lock_text(target) for target in targets}
        made = dag.directory()
        for path, text in dockerfile.rendered(definition, locks, ignored=NOT_SOURCE).items():
            made = made.with_new_file(path, text)
        for path in dockerfile.of_source(definition):
            name = path.rpartition("/")[2]
            made = made.with_file(f"probes/{name}", self.source.file(path))
        return made

    @function
    async def report(
        self,
        image: Annotated[str, Doc("An image of layerline.toml")],
        earlier: Annotated[
            dagger.File | None, Doc("An earlier build to compare with, as for `plan`")
        ] = None,
    ) -> dagger.Directory:
        """Build an image and report on it: report.html, a page by itself, and report.json."""
        assembly = await self._assembly_of(image)
        planned = await assembly.planned(image, await _recorded(earlier))
        found = await assembly.evidence(image)
        made = report.document(image, assembly.target, found, planned)
        return (
            dag.directory()
            .with_new_file("report.html", report.page(made))
            .with_new_file("report.json", json.dumps(made, indent=1) + "\n")
        )

    @function
    async def train(
        self,
        model: Annotated[str, Doc("A model of the training's configuration")] = "single",
        epochs: Annotated[int, Doc("How often the data is gone through")] = 3,
        data: Annotated[dagger.Directory | None, Doc("Slices with labels.csv")] = None,
        features: Annotated[dagger.Directory | None, Doc("From `extract-features`")] = None,
    ) -> dagger.Directory:
        """Train in the exported image; gives its outputs. Without data, on synthetic slices."""
        workload = await self._workload("train")
        image = await workload.exported("train")
        data = data or workload.data(image)
        features = features or workload.features(image, data)
        return workload.trained(image, data, features, model=model, epochs=epochs)

    @function
    async def extract_features(
        self, data: Annotated[dagger.Directory | None, Doc("Slices with labels.csv")] = None
    ) -> dagger.Directory:
        """Extract the features that tell the classes apart best, with the exported image."""
        workload = await self._workload("train")
        image = await workload.exported("train")
        return workload.features(image, data or workload.data(image))

    @function
    async def serve_api(
        self,
        outputs: Annotated[dagger.Directory | None, Doc("What `train` gave")] = None,
        model: Annotated[dagger.File | None, Doc("A checkpoint, instead")] = None,
        features: Annotated[dagger.Directory | None, Doc("From `extract-features`")] = None,
    ) -> dagger.Service:
        """Serve predictions from the exported image; /ready says what is missing."""
        image = await (await self._workload("api")).exported("api")
        served = with_model(image, outputs=outputs, model=model, features=features)
        return served.as_service(use_entrypoint=True, no_init=True)

    @function_run_anew
    async def test_train(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Run the workload's tests and short trainings in the exported image."""
        return await self._tried(["train"], junit=junit, fresh=fresh)

    @function_run_anew
    async def test_api(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Serve trained models from the exported image and attack it from outside."""
        return await self._tried(["api"], junit=junit, fresh=fresh)

    @function
    async def serve_drift_api(
        self,
        features: Annotated[dagger.Directory | None, Doc("From `extract-features`")] = None,
    ) -> dagger.Service:
        """Watch for drift from the exported image, with the features as the reference."""
        image = await (await self._workload("drift-api")).exported("drift-api")
        return watching(image, features).as_service(use_entrypoint=True, no_init=True)

    @function
    async def cloud_run_manifest(
        self,
        address: Annotated[str, Doc("The published image: registry/repository:tag")],
        model: Annotated[str, Doc("The checkpoint: gs://BUCKET/PATH")],
        features: Annotated[str, Doc("The features of a dual model, likewise")] = "",
        name: Annotated[str, Doc("The name of the service")] = "ct-scan-api",
    ) -> dagger.File:
        """The service for `gcloud run services replace`; save it as service.yaml."""
        (port,) = (await self._definition()).image("api-cloudrun").ports
        made = Deployment(name=name, image=address, model=model, features=features, port=port)
        return dag.file("service.yaml", made.manifest())

    @function_run_anew
    async def test_api_cloudrun(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Hold the image for Cloud Run as strictly as a host may, with models in a bucket."""
        return await self._tried(["api-cloudrun"], junit=junit, fresh=fresh)

    @function_run_anew
    async def test_drift_api(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Send the drift service the same data and shifted ones, and restart it."""
        return await self._tried(["drift-api"], junit=junit, fresh=fresh)

    @function_run_anew
    async def test_dev(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Let a kernel of the development image run a cell."""
        return await self._tried(["dev"], junit=junit, fresh=fresh)

    @function_run_anew
    async def test_train_cuda(
        self,
        junit: Junit = False,
        fresh: Fresh = False,
        gpu: Annotated[bool, Doc("Give it all GPUs, and make a step on one")] = False,
    ) -> str:
        """Load the training image's libraries and make a step; without a GPU on the CPU."""
        return await self._tried(["train-cuda"], junit=junit, fresh=fresh, gpu=gpu)

    @function_run_anew
    async def test(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Run all tests of all images; says how long each took."""
        return await self._tried(list(trials.OF_IMAGE), junit=junit, fresh=fresh)

    @function
    async def lint(self) -> str:
        """Check the style of the source."""
        assembly = await self._assembly_of("train")
        tools = await assembly.tools(["test"])
        checked = tools.with_mounted_directory(APP, self.source).with_workdir(APP)
        return await checked.with_exec(["ruff", "check", "--no-cache", "."]).stdout()

    async def _tried(
        self, images: list[str], *, junit: bool, fresh: bool, gpu: bool = False
    ) -> str:
        """Try images one after the other, so that none has less of the machine."""
        mark = datetime.now(UTC).isoformat() if fresh else ""
        verdicts = [
            await trial.verdict(fresh=mark)
            for image in images
            for trial in await trials.OF_IMAGE[image](await self._workload(image, gpu=gpu))
        ]
        return told(verdicts, xml=junit)

    async def _workload(self, image: str, *, gpu: bool = False) -> Workload:
        return Workload(assembly=await self._assembly_of(image), gpu=gpu)

    async def _image(self, name: str) -> dagger.Container:
        return await (await self._assembly_of(name)).image(name)

    async def _assembly_of(self, image: str) -> Assembly:
        definition = await self._definition()
        return await self._assembly(definition, definition.image(image).target)

    async def _assembly(self, definition: Definition, target: str) -> Assembly:
        text = await self._lock_text(target)
        return Assembly(
            definition=definition,
            target=target,
            partition=partition(text, definition, target),
            environment=await self._environment(definition, target, text),
            source=self.source,
        )

    async def _environment(self, definition: Definition, target: str, locked: str) -> Environment:
        definition.target(target)
        pins = lock.parse(locked)
        reached = await network(
            ca_bundle=self.ca_bundle,
            credentials=self.index_credentials,
            offline=self.offline,
            indexes=tuple(filter(None, (self.index_url, self.extra_index_url))),
        )
        await reached.check_base(definition.base.image)
        return Environment(
            target=target,
            base=definition.base,
            wheels=Wheels(
                index_url=self.index_url,
                extra_index_url=self.extra_index_url,
                wheelhouse=self.wheelhouse,
            ),
            network=reached,
            installer=lock.requirements([pins[INSTALLER]]) if INSTALLER in pins else INSTALLER,
        )

    async def _definition(self) -> Definition:
        return read(await self.source.file(FILE).contents())

    async def _lock_text(self, target: str) -> str:
        """The lock of a target; nothing before it is made for the first time."""
        path = lock.path(target)
        if not await self.source.glob(path):
            return ""
        return await self.source.file(path).contents()


async def _recorded(earlier: dagger.File | None) -> list[Evidence]:
    """What `evidence` gave for an earlier build; nothing where none is known."""
    known: list[Evidence] = [] if earlier is None else json.loads(await earlier.contents())
    return known
