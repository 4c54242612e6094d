"""deploy/compose.yaml runs the images of layerline.toml as they are meant to run."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from layerline.pipeline.definition import parse_definition

HOME = Path(__file__).parents[2]
TEXT = (HOME / "deploy/compose.yaml").read_text()
DOCUMENT = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
IMAGES = parse_definition((HOME / "layerline.toml").read_text()).images
PROFILES = {"cpu", "gpu"}
APP = PurePosixPath("/app")


def with_defaults(text: str) -> str:
    """The text as compose has it when the user sets no variable."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


def image_of(service: dict[str, Any]) -> str:
    match = re.fullmatch(
        r"localhost:5000/ct-scan-([a-z-]+):latest", with_defaults(service["image"])
    )
    assert match is not None
    return match[1]


def mounts(service: dict[str, Any]) -> dict[PurePosixPath, str]:
    """Targets with their sources."""
    pairs = [with_defaults(volume).split(":")[:2] for volume in service.get("volumes", [])]
    return {PurePosixPath(target): source for source, target in pairs}


def ports(service: dict[str, Any]) -> list[tuple[str, ...]]:
    return [tuple(with_defaults(port).split(":")) for port in service.get("ports", [])]


def reserves_gpu(service: dict[str, Any]) -> bool:
    devices = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices")
    return bool(devices) and devices[0]["capabilities"] == ["gpu"]


def test_every_image_of_layerline_toml_is_a_service_and_no_other() -> None:
    assert {image_of(service) for service in SERVICES.values()} == set(IMAGES)


def test_every_variable_has_a_default() -> None:
    assert "$" not in with_defaults(TEXT)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_the_images_and_open_to_this_machine_alone(name: str) -> None:
    wanted = IMAGES[image_of(SERVICES[name])].ports
    assert ports(SERVICES[name]) == [("127.0.0.1", str(port), str(port)) for port in wanted]


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_profile_takes_no_port_of_the_host_twice(profile: str) -> None:
    taken = [
        port
        for service in SERVICES.values()
        if profile in service["profiles"]
        for port in ports(service)
    ]
    assert len(taken) == len(set(taken))


@pytest.mark.parametrize("name", SERVICES)
def test_no_volume_hides_the_source(name: str) -> None:
    hidden = [target for target in mounts(SERVICES[name]) if (APP / "src").is_relative_to(target)]
    inside = [target for target in mounts(SERVICES[name]) if target.is_relative_to(APP / "src")]
    assert hidden + inside == []


@pytest.mark.parametrize("name", ["train", "train-cuda", "dev", "dev-cpu"])
def test_what_work_writes_outlives_the_container(name: str) -> None:
    service = SERVICES[name]
    targets = mounts(service)
    for directory in IMAGES[image_of(service)].directories:
        path = APP / directory
        assert any(path.is_relative_to(target) for target in targets), path


def test_what_one_service_leaves_another_finds_under_the_same_path() -> None:
    places: dict[str, set[PurePosixPath]] = {}
    for service in SERVICES.values():
        for target, source in mounts(service).items():
            places.setdefault(source, set()).add(target)
    assert {source: len(targets) for source, targets in places.items()} == dict.fromkeys(places, 1)
    assert places.keys() == DOCUMENT["volumes"].keys()


@pytest.mark.parametrize(
    ("name", "variable", "directory"),
    [
        ("api", "MODEL_PATH", "outputs/checkpoints"),
        ("api", "FEATURES_PATH", "data/features"),
        ("drift-api", "REFERENCE_PATH", "data/features"),
    ],
)
def test_the_apis_look_where_training_and_extraction_write(
    name: str, variable: str, directory: str
) -> None:
    path = PurePosixPath(with_defaults(SERVICES[name]["environment"][variable]))
    assert path.parent == APP / directory
    target = next(target for target in mounts(SERVICES[name]) if path.is_relative_to(target))
    assert mounts(SERVICES[name])[target] == mounts(SERVICES["train"])[target]


def test_the_drift_api_keeps_its_window_on_a_volume_it_may_write() -> None:
    (volume,) = (text for text in SERVICES["drift-api"]["volumes"] if "drift" in text)
    assert SERVICES["drift-api"]["environment"]["STATE_DIR"] == "/app/outputs/reports"
    assert with_defaults(volume) == "drift:/app/outputs/reports"


@pytest.mark.parametrize("name", SERVICES)
def test_a_gpu_is_reserved_in_the_profile_gpu_for_images_with_cuda(name: str) -> None:
    service = SERVICES[name]
    assert set(service["profiles"]) <= PROFILES
    has_cuda = IMAGES[image_of(service)].target != "cpu"
    assert reserves_gpu(service) == (has_cuda and service["profiles"] == ["gpu"])
    assert service["profiles"] != ["gpu"] or has_cuda


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_image_for_the_machine_is_in_its_profile(profile: str) -> None:
    found = {image_of(service) for service in SERVICES.values() if profile in service["profiles"]}
    assert found == set(IMAGES) - {"train" if profile == "gpu" else "train-cuda"}


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_runs_as_root_or_with_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert with_defaults(service["user"]) == "1000:1000"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", ["api", "api-cloudrun", "drift-api"])
def test_the_apis_have_a_read_only_root_and_a_check_of_their_own_port(name: str) -> None:
    service = SERVICES[name]
    (port,) = IMAGES[image_of(service)].ports
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["restart"] == "unless-stopped"
    program, *arguments = service["healthcheck"]["test"][1:]
    assert [program, *arguments[:-1]] == ["python", "-c"]
    assert arguments[-1].endswith(f"urlopen('http://127.0.0.1:{port}/health')")
    assert IMAGES[image_of(service)].env["PORT"] == str(port)
