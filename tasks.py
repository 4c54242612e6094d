"""The project's tasks: `invoke --list` shows them, `invoke --help TASK` their options.

They run in a checkout and in the images `train` and `dev`. Each is one command, which it shows.
"""

import shlex
import sys
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

ROOT = Path(__file__).parent
SOURCE = ROOT / "src"
FEATURES = "data/features"


def _run(context: Context, *command: str, **environment: str) -> None:
    context.run(
        shlex.join(command),
        echo=True,
        env={"PYTHONPATH": str(SOURCE), **environment},
        pty=sys.stdout.isatty(),
    )


def _python(context: Context, module: str, *arguments: str, **environment: str) -> None:
    _run(context, sys.executable, "-m", module, *arguments, **environment)


def _layerline(context: Context, *arguments: str) -> None:
    _run(context, str(ROOT / "layerline"), "call", *arguments)


@task(help={"fix": "mend what can be mended"})
def ruff(context: Context, *, fix: bool = False) -> None:
    """Check the workload's style (the image dev has ruff)."""
    checked = ("src/ct_scan_mlops", "tests/workload", "tasks.py")
    _python(context, "ruff", "check", *(["--fix"] if fix else []), *checked)


@task(name="test", help={"package": "one of data, features, models, training, serving, monitoring"})
def run_tests(context: Context, package: str = "") -> None:
    """Run the workload's tests here (the image dev has pytest)."""
    _python(
        context, "pytest", "-q", "-c", "/dev/null", "--rootdir=.",
        "--confcutdir=tests/workload", f"tests/workload/{package}",
    )  # fmt: skip


@task(help={"output": "the directory to make", "count": "slices", "seed": "same seed, same bytes"})
def generate_data(context: Context, output: str = "data", count: int = 1200, seed: int = 7) -> None:
    """Make a synthetic data set."""
    _python(
        context, "ct_scan_mlops.data.synthetic",
        f"--output={output}", f"--count={count}", f"--seed={seed}",
    )  # fmt: skip


@task(
    help={
        "features": "top_features, or all",
        "count": "how many top features",
        "data": "the data directory",
        "output": "where the feature set goes",
    }
)
def extract_features(
    context: Context,
    features: str = "top_features",
    count: int = 16,
    data: str = "data",
    output: str = FEATURES,
) -> None:
    """Extract radiomics features of all slices and select the ones that tell most."""
    _python(
        context, "ct_scan_mlops.features.extraction",
        f"--features={features}", f"--count={count}", f"--data={data}", f"--output={output}",
    )  # fmt: skip


@task(
    help={
        "model": "single, dual_pathway or dual_pathway_top_features",
        "epochs": "how often each slice is seen",
        "seed": "same seed, same result on a CPU",
        "overrides": "more for Hydra, e.g. 'data.batch_size=32 profiler=simple'",
    }
)
def train(
    context: Context,
    model: str = "single",
    epochs: int = 10,
    seed: int = 7,
    overrides: str = "",
) -> None:
    """Train one model."""
    _train(context, f"model={model}", f"trainer.max_epochs={epochs}", f"seed={seed}", overrides)


@task(
    help={
        "models": "names, with commas",
        "seeds": "numbers, with commas",
        "epochs": "how often each slice is seen",
        "overrides": "more for Hydra, e.g. 'model.learning_rate=0.002,0.005'",
    }
)
def sweep(
    context: Context,
    models: str = "single,dual_pathway",
    seeds: str = "7",
    epochs: int = 10,
    overrides: str = "",
) -> None:
    """Train every model with every seed, into outputs/sweeps."""
    _train(
        context, "--multirun", f"model={models}", f"seed={seeds}",
        f"trainer.max_epochs={epochs}", overrides,
    )  # fmt: skip


def _train(context: Context, *arguments: str) -> None:
    *first, overrides = arguments
    _python(context, "ct_scan_mlops.training.run", *first, *shlex.split(overrides))


@task(
    help={
        "model": "the checkpoint to serve",
        "features": "the feature set that a dual pathway was trained with",
        "port": "where to listen",
    }
)
def serve(
    context: Context,
    model: str = "outputs/checkpoints/best.ckpt",
    features: str = "",
    port: int = 8000,
) -> None:
    """Serve a model over HTTP."""
    _python(
        context, "ct_scan_mlops.serving",
        PORT=str(port), MODEL_ROOT=str(ROOT), MODEL_PATH=model, FEATURES_PATH=features,
    )  # fmt: skip


@task(
    help={
        "reference": "the feature set to compare with",
        "state": "where the window of observations is kept",
        "port": "where to listen",
    }
)
def serve_drift(
    context: Context,
    reference: str = f"{FEATURES}/features_top_features.json",
    state: str = "outputs/reports",
    port: int = 8001,
) -> None:
    """Watch for drift over HTTP."""
    _python(
        context, "ct_scan_mlops.monitoring",
        PORT=str(port), REFERENCE_PATH=reference, STATE_DIR=str((ROOT / state).absolute()),
    )  # fmt: skip


@task(help={"image": "an image of layerline.toml", "output": "the archive; IMAGE.tar if not named"})
def build(context: Context, image: str, output: str = "") -> None:
    """Build an image into an archive that docker load takes."""
    _layerline(context, "build", f"--image={image}", "export", f"--path={output or image}.tar")


@task(name="test-image", help={"image": "train, api, drift-api, … ; all of them if not named"})
def try_image(context: Context, image: str = "") -> None:
    """Test the built images as their users meet them."""
    _layerline(context, f"test-{image}" if image else "test")


@task(help={"image": "an image of layerline.toml"})
def docker_load(context: Context, image: str) -> None:
    """Build an image and hand it to docker."""
    build(context, image)
    _run(context, "docker", "load", f"--input={image}.tar")


@task(
    help={
        "model": "single, dual_pathway or dual_pathway_top_features",
        "epochs": "how often each slice is seen",
        "tag": "the image; docker_load says how it is called",
    }
)
def docker_train(
    context: Context, model: str = "single", epochs: int = 10, tag: str = "train"
) -> None:
    """Train in a container, as the owner of data and outputs here."""
    owner = ROOT.stat()
    _run(
        context, "docker", "run", "--rm", f"--user={owner.st_uid}:{owner.st_gid}",
        f"--volume={ROOT / 'data'}:/app/data", f"--volume={ROOT / 'outputs'}:/app/outputs", tag,
        "invoke", "train", f"--model={model}", f"--epochs={epochs}",
    )  # fmt: skip
