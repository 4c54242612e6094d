"""The service of Cloud Run, as Knative's YAML that `gcloud run services replace` takes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Yaml: TypeAlias = Mapping[str, "Yaml"] | Sequence["Yaml"] | str | int | bool

# The host gives up on an instance after 240 seconds.
_STARTUP_PERIOD, _STARTUP_FAILURES = 5, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What is deployed: the image's address, and where the model and its features are."""

    name: str
    image: str
    model: str
    features: str
    port: int
    memory: str = "2Gi"
    cpu: str = "1"
    concurrency: int = 32
    most_instances: int = 4

    def manifest(self) -> str:
        """The text of the YAML file."""
        return "".join(f"{line}\n" for line in _lines(self._service()))

    def _service(self) -> Yaml:
        scaling = {
            "autoscaling.knative.dev/maxScale": str(self.most_instances),
            "run.googleapis.com/startup-cpu-boost": "true",
        }
        specification: Yaml = {
            "containerConcurrency": self.concurrency,
            "timeoutSeconds": 60,
            "containers": [self._container()],
        }
        return {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": self.name},
            "spec": {
                "template": {"metadata": {"annotations": scaling}, "spec": specification},
                "traffic": [{"percent": 100, "latestRevision": True}],
            },
        }

    def _container(self) -> Yaml:
        """PORT is not among the variables: the host sets it and refuses another one's."""
        variables = {"MODEL_PATH": self.model, "FEATURES_PATH": self.features}
        return {
            "image": self.image,
            "ports": [{"name": "http1", "containerPort": self.port}],
            "env": [{"name": name, "value": value} for name, value in variables.items() if value],
            "resources": {"limits": {"cpu": self.cpu, "memory": self.memory}},
            "startupProbe": {
                "httpGet": {"path": "/ready", "port": self.port},
                "periodSeconds": _STARTUP_PERIOD,
                "timeoutSeconds": _STARTUP_PERIOD,
                "failureThreshold": _STARTUP_FAILURES,
            },
            "livenessProbe": {
                "httpGet": {"path": "/health", "port": self.port},
                "periodSeconds": 30,
                "timeoutSeconds": 5,
            },
        }


def _lines(value: Yaml) -> Iterator[str]:
    """YAML in block style; text is written as JSON writes it, which YAML reads as well."""
    match value:
        case str() | int():
            yield json.dumps(value)
        case Mapping():
            for key, inner in value.items():
                first, *rest = _lines(inner)
                if isinstance(inner, str | int):
                    yield f"{key}: {first}"
                else:
                    yield f"{key}:"
                    yield from (f"  {line}" for line in (first, *rest))
        case _:
            for inner in value:
                first, *rest = _lines(inner)
                yield f"- {first}"
                yield from (f"  {line}" for line in rest)
