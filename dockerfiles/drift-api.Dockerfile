# The image drift-api, generated from layerline.toml; do not edit.

FROM debian:bookworm-slim AS bare
RUN --mount=type=cache,id=apt-cache-cpu-v2,target=/var/cache/apt,sharing=locked \
    --mount=type=bind,source=dockerfiles/programs/system.sh,target=/mnt/system.sh \
    RUN_USER=app PREFIX=/opt/venv sh /mnt/system.sh ca-certificates libgomp1 python3 python3-venv tini
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

FROM bare AS system

FROM bare AS requirements
RUN --mount=type=bind,source=locks/cpu.txt,target=/mnt/lock.txt \
    --mount=type=bind,source=dockerfiles/programs/slice.py,target=/mnt/slice.py \
    mkdir /requirements \
 && python3 /mnt/slice.py /mnt/lock.txt wrapt > /requirements/shared+api+api-cloudrun+drift-api.txt \
 && python3 /mnt/slice.py /mnt/lock.txt pygments > /requirements/shared+drift-api.txt \
 && python3 /mnt/slice.py /mnt/lock.txt aiohappyeyeballs aiohttp aiosignal annotated-doc annotated-types anyio attrs certifi cffi charset-normalizer click cloudpickle cryptography filelock frozenlist h11 idna joblib multidict narwhals opentelemetry-api propcache protobuf pycparser pydantic pydantic-core python-dateutil python-dotenv requests six starlette typing-extensions typing-inspection urllib3 yarl > /requirements/shared.txt \
 && python3 /mnt/slice.py /mnt/lock.txt opentelemetry-proto packaging tqdm > /requirements/shared+drift-api+train.txt \
 && python3 /mnt/slice.py /mnt/lock.txt httpcore httpx iniconfig pluggy pytest ruff > /requirements/test.txt \
 && python3 /mnt/slice.py /mnt/lock.txt numpy pandas pillow pyarrow pydicom pytz pyyaml scikit-learn scipy threadpoolctl tzdata > /requirements/core.txt \
 && python3 /mnt/slice.py /mnt/lock.txt fastapi fsspec httptools prometheus-client python-multipart uvicorn uvloop watchfiles websockets > /requirements/api.txt \
 && python3 /mnt/slice.py /mnt/lock.txt appdirs defusedxml deprecation distro dynaconf evidently faker formulaic interface-meta iterative-telemetry litestar litestar-htmx markdown-it-py mdurl msgspec multipart mypy-extensions nltk patsy plotly polyfactory regex rich rich-click shellingham sniffio statsmodels tenacity typer typing-inspect ujson uuid6 watchdog > /requirements/drift.txt \
 && python3 /mnt/slice.py /mnt/lock.txt uv > /requirements/installer.txt

FROM bare AS builder
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN --mount=type=cache,id=uv-resolve-cpu-v2,target=/root/.cache/pip \
    --mount=type=bind,from=requirements,source=/requirements/installer.txt,target=/mnt/requirements.txt \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /mnt/tools \
 && /mnt/tools/bin/pip install --quiet --no-compile --no-deps --require-hashes --only-binary=:all: --requirement=/mnt/requirements.txt

FROM builder AS layer-shared-api-api-cloudrun-drift-api
RUN --mount=type=cache,id=uv-shared+api+api-cloudrun+drift-api-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/shared+api+api-cloudrun+drift-api.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-shared-api-api-cloudrun-drift-api-bytecode
RUN --mount=type=bind,from=layer-shared-api-api-cloudrun-drift-api,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-shared-drift-api
RUN --mount=type=cache,id=uv-shared+drift-api-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/shared+drift-api.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-shared-drift-api-bytecode
RUN --mount=type=bind,from=layer-shared-drift-api,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-shared
RUN --mount=type=cache,id=uv-shared-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/shared.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-shared-bytecode
RUN --mount=type=bind,from=layer-shared,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-shared-drift-api-train
RUN --mount=type=cache,id=uv-shared+drift-api+train-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/shared+drift-api+train.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-shared-drift-api-train-bytecode
RUN --mount=type=bind,from=layer-shared-drift-api-train,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-test
RUN --mount=type=cache,id=uv-test-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/test.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-test-bytecode
RUN --mount=type=bind,from=layer-test,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-core
RUN --mount=type=cache,id=uv-core-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/core.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-core-bytecode
RUN --mount=type=bind,from=layer-core,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-api
RUN --mount=type=cache,id=uv-api-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/api.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-api-bytecode
RUN --mount=type=bind,from=layer-api,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-drift
RUN --mount=type=cache,id=uv-drift-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/drift.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-drift-bytecode
RUN --mount=type=bind,from=layer-drift,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM bare AS source
WORKDIR /app
COPY . .
RUN rm -rf dockerfiles locks \
 && mkdir -p data outputs/reports \
 && find . -exec touch --no-dereference --date=@315532800 {} +

FROM system
COPY --from=layer-shared-api-api-cloudrun-drift-api /opt/venv /opt/venv
COPY --from=layer-shared-api-api-cloudrun-drift-api-bytecode /mnt/compiled /opt/venv
COPY --from=layer-shared-drift-api /opt/venv /opt/venv
COPY --from=layer-shared-drift-api-bytecode /mnt/compiled /opt/venv
COPY --from=layer-shared /opt/venv /opt/venv
COPY --from=layer-shared-bytecode /mnt/compiled /opt/venv
COPY --from=layer-shared-drift-api-train /opt/venv /opt/venv
COPY --from=layer-shared-drift-api-train-bytecode /mnt/compiled /opt/venv
COPY --from=layer-test /opt/venv /opt/venv
COPY --from=layer-test-bytecode /mnt/compiled /opt/venv
COPY --from=layer-core /opt/venv /opt/venv
COPY --from=layer-core-bytecode /mnt/compiled /opt/venv
COPY --from=layer-api /opt/venv /opt/venv
COPY --from=layer-api-bytecode /mnt/compiled /opt/venv
COPY --from=layer-drift /opt/venv /opt/venv
COPY --from=layer-drift-bytecode /mnt/compiled /opt/venv
COPY --from=source --chown=app:app /app /app
RUN --mount=type=bind,source=dockerfiles/probes,target=/mnt/probes \
    --mount=type=bind,source=dockerfiles/requests,target=/mnt/requests \
    --mount=type=tmpfs,target=/tmp \
    set -eu; cd /tmp; for subject in cpu/shared+api+api-cloudrun+drift-api cpu/shared+drift-api cpu/shared cpu/shared+drift-api+train cpu/test cpu/core cpu/api cpu/drift drift-api; do \
      env HOME=/tmp JAX_PLATFORMS=cpu /opt/venv/bin/python /mnt/probes/run.py < /mnt/requests/$subject.json; \
    done
ENV DO_NOT_TRACK="1"
ENV PORT="8001"
ENV PYTHONPATH="/app/src"
EXPOSE 8001
WORKDIR /app
USER app
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "ct_scan_mlops.monitoring"]
LABEL org.opencontainers.image.title="drift-api"
LABEL org.opencontainers.image.base.name="debian:bookworm-slim"
LABEL layerline.target="cpu"
