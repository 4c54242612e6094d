"""The manifest for Cloud Run, to the letter; `test-api-cloudrun` reads it as YAML."""

from __future__ import annotations

from ci.modules.cloudrun import Deployment

MANIFEST = """\
apiVersion: "serving.knative.dev/v1"
kind: "Service"
metadata:
  name: "ct-scan-api"
spec:
  template:
    metadata:
      annotations:
        autoscaling.knative.dev/maxScale: "4"
        run.googleapis.com/startup-cpu-boost: "true"
    spec:
      containerConcurrency: 32
      timeoutSeconds: 60
      containers:
        - image: "host/api:1"
          ports:
            - name: "http1"
              containerPort: 8080
          env:
            - name: "MODEL_PATH"
              value: "gs://b/m.ckpt"
          resources:
            limits:
              cpu: "1"
              memory: "2Gi"
          startupProbe:
            httpGet:
              path: "/ready"
              port: 8080
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: 48
          livenessProbe:
            httpGet:
              path: "/health"
              port: 8080
            periodSeconds: 30
            timeoutSeconds: 5
  traffic:
    - percent: 100
      latestRevision: true
"""


def manifest(*, features: str) -> str:
    return Deployment(
        name="ct-scan-api",
        image="host/api:1",
        model="gs://b/m.ckpt",
        features=features,
        port=8080,
    ).manifest()


def test_a_single_model_is_deployed() -> None:
    assert manifest(features="") == MANIFEST


def test_features_are_a_variable_where_there_are_some() -> None:
    assert '- name: "FEATURES_PATH"' in manifest(features="gs://b/f.json")


def test_text_is_quoted_whatever_is_in_it() -> None:
    assert r'value: "a\": b"' in manifest(features='a": b')
