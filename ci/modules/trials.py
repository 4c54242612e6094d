"""What is tried of each image, from outside: as the user gets it, with what the user mounts."""

import json
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import dagger
from dagger import dag

from ci.modules.image import APP
from ci.modules.service import kept
from ci.modules.trial import Trial
from ci.modules.workload import DATA, OUTPUTS, Workload, training

MODELS = f"{APP}/models"
_FOUND = "/mnt/found"
_STATE = f"{OUTPUTS}/reports"
_EPOCHS = 3
_FEW = 60
_TOOLS = ("core", "test")


async def train(workload: Workload) -> list[Trial]:
    """The workload's own tests inside the image; and its runs, seen from outside."""
    image = await workload.exported("train")
    tests = workload.assembly.source.directory("tests/workload")
    inside = workload.assembly.with_tools(image, "train", ["test"])
    inside = inside.with_mounted_directory(f"{APP}/tests/workload", tests)
    data = workload.data(image)
    found = dag.directory().with_directory("data", data)
    for model in ("single", "dual_pathway_top_features"):
        outputs = _trained(workload, image, data, model)
        found = found.with_directory(model, outputs.directory("reports"))
    found = found.with_directory("said", await _said(workload, image))
    outside = workload.assembly.tools(_TOOLS).with_mounted_directory(_FOUND, found)
    return [
        Trial(name="train, inside", container=inside, program="tests/workload", alone=True),
        Trial(name="train", container=outside, program="test_train.py"),
    ]


async def _said(workload: Workload, image: dagger.Container) -> dagger.Directory:
    """How a short training ends on several kinds of volumes, and what is in the image."""
    user = await image.user()
    few = workload.data(image, count=_FEW)
    ready = image.with_mounted_directory(DATA, few)
    volume = dag.cache_volume("trial-outputs")
    foreign = dag.directory().with_new_directory("checkpoints", permissions=0o755)
    asked = {
        "fresh": ready.with_mounted_cache(OUTPUTS, volume, owner=f"{user}:{user}"),
        "foreign": ready.with_mounted_directory(OUTPUTS, foreign),
    }
    said = dag.directory()
    for name, container in asked.items():
        said = said.with_new_file(f"{name}.json", await _ending(container, training("single", 1)))
    return said


async def _ending(container: dagger.Container, words: list[str]) -> str:
    """How a command ended, as JSON."""
    done = container.with_exec(words, expect=dagger.ReturnType.ANY)
    ending = {
        "status": await done.exit_code(),
        "stdout": await done.stdout(),
        "stderr": await done.stderr(),
    }
    return json.dumps(ending)


def _trained(
    workload: Workload, image: dagger.Container, data: dagger.Directory, model: str
) -> dagger.Directory:
    features = workload.features(image, data)
    return workload.trained(image, data, features, model=model, epochs=_EPOCHS)


async def api(workload: Workload) -> list[Trial]:
    """Models that `train` has made, served by `api`."""
    trainer = await workload.exported("train")
    image = await workload.exported("api")
    data = workload.data(trainer)
    models = _models(workload, trainer, data)
    serving = image.with_mounted_directory(MODELS, models)
    tester = workload.assembly.tools(_TOOLS).with_mounted_directory(DATA, data)
    return [
        Trial(
            name="api",
            container=tester.with_mounted_directory(MODELS, models),
            program="test_api.py",
            beside=("hostile.py",),
            services={
                "api": await kept(serving),
                "plain": image.as_service(use_entrypoint=True),
            },
        )
    ]


def _models(
    workload: Workload, image: dagger.Container, data: dagger.Directory
) -> dagger.Directory:
    """What the services are given to serve: both kinds of models, and a damaged one."""
    features = workload.features(image, data)
    single = _trained(workload, image, data, "single").file("checkpoints/best.ckpt")
    dual = _trained(workload, image, data, "dual_pathway_top_features")
    cut = image.with_mounted_file("/tmp/whole", single).with_exec(
        ["head", "-c", "9000", "/tmp/whole"], redirect_stdout="/tmp/cut"
    )
    return (
        features.with_file("single.ckpt", single)
        .with_file("dual.ckpt", dual.file("checkpoints/best.ckpt"))
        .with_file("truncated.ckpt", cut.file("/tmp/cut"))
    )


OF_IMAGE: Mapping[str, Callable[[Workload], Awaitable[list[Trial]]]] = MappingProxyType(
    {"train": train, "api": api}
)
