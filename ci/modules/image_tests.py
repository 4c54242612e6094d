"""The tests of each image as its users run it, with the files that they mount."""

import json
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import dagger
from dagger import dag

from ci.modules.image_test import ImageTest, programs
from ci.modules.supervised import supervise
from ci.modules.workload import (
    CHECKPOINT,
    DATA,
    FEATURES,
    OUTPUTS,
    Workload,
    training,
    watching,
)
from layerline.pipeline.environment import PYTHON
from layerline.pipeline.image_config import APP

MODELS = f"{APP}/models"
DUAL = "dual_pathway_top_features"
_RESULTS = "/mnt/results"
_EPOCHS = MappingProxyType({"single": 8, DUAL: 3})
_FEW = 60
_CUT_BYTES = "9000"
_TOOLS = ("core", "test")
# The workload's tests are about all of its parts, whichever image has them.
_EVERYTHING = ("api", "cloud", "drift", "test")
_STORAGE_PORT = 4443
_PLANTED = "outputs/checkpoints/planted.ckpt"
_TOKEN = "image-test"


async def train(workload: Workload) -> list[ImageTest]:
    """The workload's own tests inside the image; and its runs, seen from outside."""
    image = await workload.export("train")
    tests = workload.assembly.source.directory("tests/workload")
    inside = await workload.assembly.with_tools(image, "train", _EVERYTHING)
    data = workload.data(image)
    found = dag.directory().with_directory("outcomes", await _training_outcomes(workload, image))
    for model in _EPOCHS:
        outputs = _train(workload, image, data, model)
        found = found.with_directory(model, outputs)
    outside = (await workload.assembly.tools(_TOOLS)).with_mounted_directory(_RESULTS, found)
    return [
        ImageTest(name="train", container=outside, program="test_train.py"),
        ImageTest(
            name="train, inside",
            container=inside.with_mounted_directory(f"{APP}/tests/workload", tests),
            program="tests/workload",
            alone=True,
        ),
    ]


async def api(workload: Workload) -> list[ImageTest]:
    """Models that `train` has made, served by `api`."""
    trainer, image = await workload.export("train"), await workload.export("api")
    data = workload.data(trainer)
    serving = image.with_mounted_directory(MODELS, _models(workload, trainer, data))
    return [
        ImageTest(
            name="api",
            container=(await workload.assembly.tools(_TOOLS))
            .with_mounted_directory(DATA, data)
            .with_mounted_directory(_RESULTS, await _contents(workload, "api")),
            program="test_api.py",
            extra_files=("hostile.py",),
            services={
                "api": await supervise(serving),
                "plain": image.as_service(use_entrypoint=True, no_init=True),
            },
        )
    ]


async def cloudrun(workload: Workload) -> list[ImageTest]:
    """The image for Cloud Run under its rules, with models in a bucket."""
    trainer, image = await workload.export("train"), await workload.export("api-cloudrun")
    tester = await workload.assembly.tools(_TOOLS)
    models = _models(workload, trainer, workload.data(trainer))
    bucket = (
        tester.with_mounted_directory(MODELS, models)
        .with_exposed_port(_STORAGE_PORT)
        .as_service(args=[PYTHON, "-c", programs()["storage.py"], str(_STORAGE_PORT), MODELS])
    )
    service = await supervise(image.with_service_binding("storage", bucket), confined=True)
    return [
        ImageTest(
            name="api-cloudrun",
            container=tester,
            program="test_cloudrun.py",
            services={"api": service},
        )
    ]


async def drift(workload: Workload) -> list[ImageTest]:
    """The drift service with the features of a set, and its state on a volume."""
    image = await workload.export("drift-api")
    user = await image.user()
    features = workload.features(image, workload.data(image))
    volume = dag.cache_volume("image-test-drift-state")
    service = watching(image, features).with_mounted_cache(
        f"{OUTPUTS}/reports", volume, owner=f"{user}:{user}"
    )
    by_path = ("uvicorn", "ct_scan_mlops.monitoring.drift_api:app", "--host=0.0.0.0")
    wrong = await _outcome(image, ["uvicorn", "ct_scan_mlops.drift_api:app"])
    return [
        ImageTest(
            name="drift-api",
            container=(await workload.assembly.tools(_TOOLS))
            .with_mounted_directory(FEATURES, features)
            .with_mounted_directory(_RESULTS, dag.directory().with_new_file("wrong.json", wrong)),
            program="test_drift_api.py",
            services={
                "drift-api": await supervise(service),
                "later": await supervise(service.with_env_variable("STATE_DIR", "/tmp/none")),
                "by-path": await supervise(service, command=(*by_path, "--port=8001")),
            },
        )
    ]


async def dev(workload: Workload) -> list[ImageTest]:
    """Jupyter in one container, asked from another one of the same image."""
    image = await workload.export("dev")
    service = image.with_env_variable("JUPYTER_TOKEN", _TOKEN).as_service(
        use_entrypoint=True, no_init=True
    )
    tester = image.with_env_variable("JUPYTER_TOKEN", _TOKEN).without_docker_healthcheck()
    return [
        ImageTest(name="dev", container=tester, program="test_dev.py", services={"dev": service}),
    ]


async def _require_gpu(workload: Workload) -> None:
    """Fail at once where a container gets no GPU, and not after the image was built."""
    tools = await workload.assembly.tools(["test"])
    await tools.experimental_with_all_gp_us().with_exec([PYTHON, "--version"]).sync()


async def cuda(workload: Workload) -> list[ImageTest]:
    """Imports, a step on the CPU, and CUDA's libraries; with a GPU also a step on that."""
    if workload.gpu:
        await _require_gpu(workload)
    image = await workload.export("train-cuda")
    container = await workload.assembly.with_tools(image, "train-cuda", ["test"])
    if workload.gpu:
        container = container.experimental_with_all_gp_us()
    else:
        # JAX's CUDA plugin crashes without a driver.
        container = container.with_env_variable("JAX_PLATFORMS", "cpu")
    container = container.with_env_variable("TEST_GPU", str(int(workload.gpu)))
    return [ImageTest(name="train-cuda", container=container, program="test_cuda.py")]


OF_IMAGE: Mapping[str, Callable[[Workload], Awaitable[list[ImageTest]]]] = MappingProxyType(
    {
        "train": train,
        "api": api,
        "api-cloudrun": cloudrun,
        "drift-api": drift,
        "train-cuda": cuda,
        "dev": dev,
    }
)


def _train(
    workload: Workload, image: dagger.Container, data: dagger.Directory, model: str
) -> dagger.Directory:
    """The outputs of a short training.

    On one core: threads of several trainings that wait for each other would take most of the time.
    """
    alone = image.with_env_variable("OMP_NUM_THREADS", "1")
    features = workload.features(image, data)
    return workload.train(alone, data, features, model=model, epochs=_EPOCHS[model])


def _models(
    workload: Workload, image: dagger.Container, data: dagger.Directory
) -> dagger.Directory:
    """Models for the services: one of each kind, and a damaged one."""
    single = _train(workload, image, data, "single").file(CHECKPOINT)
    dual = _train(workload, image, data, DUAL).file(CHECKPOINT)
    cut = image.with_mounted_file("/tmp/model", single).with_exec(
        ["dd", "if=/tmp/model", "of=/tmp/cut", f"bs={_CUT_BYTES}", "count=1"]
    )
    return (
        workload.features(image, data)
        .with_file("single.ckpt", single)
        .with_file("dual.ckpt", dual)
        .with_file("truncated.ckpt", cut.file("/tmp/cut"))
    )


async def _training_outcomes(workload: Workload, image: dagger.Container) -> dagger.Directory:
    """The outcomes of short trainings on the user's own volume and on another user's."""
    user = await image.user()
    ready = image.with_mounted_directory(DATA, workload.data(image, count=_FEW))
    volume = dag.cache_volume("image-test-outputs")
    foreign = dag.directory().with_new_directory("checkpoints", permissions=0o755)
    asked = {
        "fresh": ready.with_mounted_cache(OUTPUTS, volume, owner=f"{user}:{user}"),
        "foreign": ready.with_mounted_directory(OUTPUTS, foreign),
    }
    said = dag.directory()
    for name, container in asked.items():
        said = said.with_new_file(f"{name}.json", await _outcome(container, training("single", 1)))
    return said


async def _contents(workload: Workload, name: str) -> dagger.Directory:
    """The files in an image's outputs when the checkout has some: as is, and copying all."""
    source = workload.assembly.source.filter(include=["src/ct_scan_mlops/**", "tasks.py"])
    assembly = await workload.assembly.of(source.with_new_file(_PLANTED, "planted"))
    spec = assembly.definition.image(name)
    made = {"image": spec, "copied": spec.model_copy(update={"source": ("**",)})}
    contents = dag.directory()
    for key, each in made.items():
        assembled = await assembly.assemble(name, each)
        listing = assembled.with_exec(["find", OUTPUTS, "-type", "f"])
        paths = (await listing.stdout()).splitlines()
        contents = contents.with_new_file(f"{key}.json", json.dumps(paths))
    return contents


async def _outcome(container: dagger.Container, argv: list[str]) -> str:
    """Run a command; return its status and output as JSON."""
    done = container.with_exec(argv, expect=dagger.ReturnType.ANY)
    ending = {
        "status": await done.exit_code(),
        "stdout": await done.stdout(),
        "stderr": await done.stderr(),
    }
    return json.dumps(ending)
