# The image train, generated from layerline.toml; do not edit.

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
 && python3 /mnt/slice.py /mnt/lock.txt jinja2 markupsafe mpmath networkx setuptools sympy torch > /requirements/pytorch.txt \
 && python3 /mnt/slice.py /mnt/lock.txt aiohappyeyeballs aiohttp aiosignal annotated-doc annotated-types anyio attrs certifi cffi charset-normalizer click cloudpickle cryptography filelock frozenlist h11 idna joblib multidict narwhals opentelemetry-api propcache protobuf pycparser pydantic pydantic-core python-dateutil python-dotenv requests six starlette typing-extensions typing-inspection urllib3 yarl > /requirements/shared.txt \
 && python3 /mnt/slice.py /mnt/lock.txt google-auth pyasn1 pyasn1-modules > /requirements/shared+api+api-cloudrun+train.txt \
 && python3 /mnt/slice.py /mnt/lock.txt opentelemetry-proto packaging tqdm > /requirements/shared+drift-api+train.txt \
 && python3 /mnt/slice.py /mnt/lock.txt numpy pandas pillow pyarrow pydicom pytz pyyaml scikit-learn scipy threadpoolctl tzdata > /requirements/core.txt \
 && python3 /mnt/slice.py /mnt/lock.txt opencv-python-headless > /requirements/cv.txt \
 && python3 /mnt/slice.py /mnt/lock.txt jax jaxlib ml-dtypes opt-einsum > /requirements/jax.txt \
 && python3 /mnt/slice.py /mnt/lock.txt fastapi fsspec httptools prometheus-client python-multipart uvicorn uvloop watchfiles websockets > /requirements/api.txt \
 && python3 /mnt/slice.py /mnt/lock.txt antlr4-python3-runtime cachetools databricks-sdk gitdb gitpython hydra-core importlib-metadata invoke lightning lightning-utilities mlflow-skinny omegaconf opentelemetry-sdk opentelemetry-semantic-conventions pytorch-lightning smmap sqlparse torchmetrics zipp > /requirements/train.txt \
 && python3 /mnt/slice.py /mnt/lock.txt uv > /requirements/installer.txt

FROM bare AS builder
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN --mount=type=cache,id=uv-resolve-cpu-v2,target=/root/.cache/pip \
    --mount=type=bind,from=requirements,source=/requirements/installer.txt,target=/mnt/requirements.txt \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /mnt/tools \
 && /mnt/tools/bin/pip install --quiet --no-compile --no-deps --require-hashes --only-binary=:all: --requirement=/mnt/requirements.txt

FROM builder AS layer-pytorch
RUN --mount=type=cache,id=uv-pytorch-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/pytorch.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    INDEX_PAGES='https://download.pytorch.org/whl/cpu/torch/' python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-pytorch-bytecode
RUN --mount=type=bind,from=layer-pytorch,source=/opt/venv,target=/mnt/layer \
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

FROM builder AS layer-shared-api-api-cloudrun-train
RUN --mount=type=cache,id=uv-shared+api+api-cloudrun+train-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/shared+api+api-cloudrun+train.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-shared-api-api-cloudrun-train-bytecode
RUN --mount=type=bind,from=layer-shared-api-api-cloudrun-train,source=/opt/venv,target=/mnt/layer \
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

FROM builder AS layer-cv
RUN --mount=type=cache,id=uv-cv-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/cv.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-cv-bytecode
RUN --mount=type=bind,from=layer-cv,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-jax
RUN --mount=type=cache,id=uv-jax-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/jax.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-jax-bytecode
RUN --mount=type=bind,from=layer-jax,source=/opt/venv,target=/mnt/layer \
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

FROM builder AS layer-train
RUN --mount=type=cache,id=uv-train-cpu-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/train.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/requests/cpu/train.builders.txt,target=/mnt/builders.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --no-binary=antlr4-python3-runtime --build-constraints=/mnt/builders.txt --require-build-hashes --requirements=/mnt/requirements.txt

FROM bare AS layer-train-bytecode
RUN --mount=type=bind,from=layer-train,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM bare AS source
WORKDIR /app
COPY . .
RUN rm -rf dockerfiles locks \
 && mkdir -p data outputs/checkpoints outputs/logs outputs/profiling outputs/reports outputs/sweeps \
 && find . -exec touch --no-dereference --date=@315532800 {} +

FROM system
COPY --from=layer-pytorch /opt/venv /opt/venv
COPY --from=layer-pytorch-bytecode /mnt/compiled /opt/venv
COPY --from=layer-shared /opt/venv /opt/venv
COPY --from=layer-shared-bytecode /mnt/compiled /opt/venv
COPY --from=layer-shared-api-api-cloudrun-train /opt/venv /opt/venv
COPY --from=layer-shared-api-api-cloudrun-train-bytecode /mnt/compiled /opt/venv
COPY --from=layer-shared-drift-api-train /opt/venv /opt/venv
COPY --from=layer-shared-drift-api-train-bytecode /mnt/compiled /opt/venv
COPY --from=layer-core /opt/venv /opt/venv
COPY --from=layer-core-bytecode /mnt/compiled /opt/venv
COPY --from=layer-cv /opt/venv /opt/venv
COPY --from=layer-cv-bytecode /mnt/compiled /opt/venv
COPY --from=layer-jax /opt/venv /opt/venv
COPY --from=layer-jax-bytecode /mnt/compiled /opt/venv
COPY --from=layer-api /opt/venv /opt/venv
COPY --from=layer-api-bytecode /mnt/compiled /opt/venv
COPY --from=layer-train /opt/venv /opt/venv
COPY --from=layer-train-bytecode /mnt/compiled /opt/venv
COPY --from=source --chown=app:app /app /app
RUN --mount=type=bind,source=dockerfiles/probes,target=/mnt/probes \
    --mount=type=bind,source=dockerfiles/requests,target=/mnt/requests \
    --mount=type=tmpfs,target=/tmp \
    set -eu; cd /tmp; for subject in cpu/pytorch cpu/shared cpu/shared+api+api-cloudrun+train cpu/shared+drift-api+train cpu/core cpu/cv cpu/jax cpu/api cpu/train train; do \
      env HOME=/tmp JAX_PLATFORMS=cpu /opt/venv/bin/python /mnt/probes/run.py < /mnt/requests/$subject.json; \
    done
ENV PYTHONPATH="/app/src"
WORKDIR /app
USER app
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "ct_scan_mlops.training.run"]
LABEL org.opencontainers.image.title="train"
LABEL org.opencontainers.image.base.name="debian:bookworm-slim"
LABEL layerline.target="cpu"
