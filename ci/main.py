"""The module of this repository: its six images, training, serving, and the tests of the images."""

from datetime import UTC, datetime
from typing import Annotated

import dagger
from dagger import DefaultPath, Doc, Ignore, dag, function, object_type

from ci.modules import image_tests
from ci.modules.cloudrun import Deployment
from ci.modules.image_test import render_results
from ci.modules.start_test import test_start
from ci.modules.workload import Workload, watching, with_model
from layerline.pipeline.functions import PipelineFunctions, uncached_function
from layerline.pipeline.image_config import APP
from layerline.pipeline.source import NOT_LOADED

# Not even read: no pattern in layerline.toml names it.
CACHES = [
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache", ".grimp_cache"),
    *(".hypothesis", ".tools", "benchmarks", "data", "dist", "outputs", "*.tar"),
]
# Functions that test are not cached: the test's container decides whether it runs again.
Junit = Annotated[bool, Doc("Print JUnit XML instead, whether the tests pass or fail")]
Fresh = Annotated[bool, Doc("Run the tests again even if nothing has changed")]


@object_type
class Layerline(PipelineFunctions):
    """Machine-learning images, built and validated layer by layer from a layerline.toml."""

    source: Annotated[
        dagger.Directory,
        DefaultPath("/"),
        Ignore([*NOT_LOADED, *CACHES]),
        Doc("Project directory with layerline.toml and locks"),
    ]

    @function
    async def build_train_cuda(self) -> dagger.Container:
        """Build the training image for NVIDIA GPUs: PyTorch, JAX and computer vision."""
        return await self.project().image("train-cuda")

    @function
    async def build_train(self) -> dagger.Container:
        """Build the training image for machines without a GPU."""
        return await self.project().image("train")

    @function
    async def build_api(self) -> dagger.Container:
        """Build the image of the inference service."""
        return await self.project().image("api")

    @function
    async def build_api_cloudrun(self) -> dagger.Container:
        """Build the image of the inference service for Cloud Run."""
        return await self.project().image("api-cloudrun")

    @function
    async def build_drift_api(self) -> dagger.Container:
        """Build the image of the drift service."""
        return await self.project().image("drift-api")

    @function
    async def build_dev(self) -> dagger.Container:
        """Build the development image: train-cuda's layers and Jupyter."""
        return await self.project().image("dev")

    @function
    async def train(
        self,
        model: Annotated[str, Doc("A model of the training configuration")] = "single",
        epochs: Annotated[int, Doc("Number of epochs")] = 3,
        data: Annotated[dagger.Directory | None, Doc("Slices with labels.csv")] = None,
        features: Annotated[dagger.Directory | None, Doc("Output of `extract-features`")] = None,
    ) -> dagger.Directory:
        """Train in the exported image and return its outputs; uses synthetic slices by default."""
        workload = await self._workload("train")
        image = await workload.export("train")
        data = data or workload.data(image)
        features = features or workload.features(image, data)
        return workload.train(image, data, features, model=model, epochs=epochs)

    @function
    async def extract_features(
        self, data: Annotated[dagger.Directory | None, Doc("Slices with labels.csv")] = None
    ) -> dagger.Directory:
        """Extract the most discriminative features with the exported image."""
        workload = await self._workload("train")
        image = await workload.export("train")
        return workload.features(image, data or workload.data(image))

    @function
    async def serve_api(
        self,
        outputs: Annotated[dagger.Directory | None, Doc("Output of `train`")] = None,
        model: Annotated[dagger.File | None, Doc("A checkpoint to use instead")] = None,
        features: Annotated[dagger.Directory | None, Doc("Output of `extract-features`")] = None,
    ) -> dagger.Service:
        """Serve predictions from the exported image; /ready reports what is missing."""
        image = await (await self._workload("api")).export("api")
        served = with_model(image, outputs=outputs, model=model, features=features)
        return served.as_service(use_entrypoint=True, no_init=True)

    @uncached_function
    async def test_train(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Run the workload's tests and short training runs in the exported image."""
        return await self._run_tests(["train"], junit=junit, fresh=fresh)

    @uncached_function
    async def test_api(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Serve trained models from the exported image and send it hostile requests."""
        return await self._run_tests(["api"], junit=junit, fresh=fresh)

    @function
    async def serve_drift_api(
        self,
        features: Annotated[dagger.Directory | None, Doc("Output of `extract-features`")] = None,
    ) -> dagger.Service:
        """Serve drift detection from the exported image, with the features as the reference."""
        image = await (await self._workload("drift-api")).export("drift-api")
        return watching(image, features).as_service(use_entrypoint=True, no_init=True)

    @function
    async def cloud_run_manifest(
        self,
        address: Annotated[str, Doc("The published image: registry/repository:tag")],
        model: Annotated[str, Doc("The checkpoint: gs://BUCKET/PATH")],
        features: Annotated[str, Doc("The features of a dual model: gs://BUCKET/PATH")] = "",
        name: Annotated[str, Doc("The name of the service")] = "ct-scan-api",
    ) -> dagger.File:
        """Render the service for `gcloud run services replace`; save it as service.yaml."""
        (port,) = (await self.project().definition()).image("api-cloudrun").ports
        made = Deployment(name=name, image=address, model=model, features=features, port=port)
        return dag.file("service.yaml", made.manifest())

    @uncached_function
    async def test_api_cloudrun(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Run the Cloud Run image under the platform's restrictions, with models in a bucket."""
        return await self._run_tests(["api-cloudrun"], junit=junit, fresh=fresh)

    @uncached_function
    async def test_drift_api(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Send unchanged and shifted data to the drift service, and restart it."""
        return await self._run_tests(["drift-api"], junit=junit, fresh=fresh)

    @uncached_function
    async def test_dev(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Run a cell in a Jupyter kernel of the development image."""
        return await self._run_tests(["dev"], junit=junit, fresh=fresh)

    @uncached_function
    async def test_train_cuda(
        self,
        junit: Junit = False,
        fresh: Fresh = False,
        gpu: Annotated[bool, Doc("Use all GPUs, and run a training step on one")] = False,
    ) -> str:
        """Load the training image's libraries and run a training step, on the CPU by default."""
        return await self._run_tests(["train-cuda"], junit=junit, fresh=fresh, gpu=gpu)

    @uncached_function
    async def test(self, junit: Junit = False, fresh: Fresh = False) -> str:
        """Run all tests of all images and print how long each took."""
        return await self._run_tests(list(image_tests.OF_IMAGE), junit=junit, fresh=fresh)

    @function
    async def lint(self) -> str:
        """Lint the source with ruff."""
        assembly = await self.project().assembly_of("train")
        tools = await assembly.tools(["test"])
        checked = tools.with_mounted_directory(APP, self.source).with_workdir(APP)
        return await checked.with_exec(["ruff", "check", "--no-cache", "."]).stdout()

    async def _run_tests(
        self, images: list[str], *, junit: bool, fresh: bool, gpu: bool = False
    ) -> str:
        """Test images one after the other: in parallel they would slow each other down."""
        mark = datetime.now(UTC).isoformat() if fresh else ""
        results = []
        for image in images:
            workload = await self._workload(image, gpu=gpu)
            results += [
                await test.result(fresh=mark)
                for test in await image_tests.OF_IMAGE[image](workload)
            ]
            results += await test_start(workload.assembly, image, fresh=mark)
        return render_results(results, xml=junit)

    async def _workload(self, image: str, *, gpu: bool = False) -> Workload:
        return Workload(assembly=await self.project().assembly_of(image), gpu=gpu)
