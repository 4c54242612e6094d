# The image dev, generated from layerline.toml; do not edit.

FROM debian:bookworm-slim AS bare
RUN --mount=type=cache,id=apt-cache-cu13-v2,target=/var/cache/apt,sharing=locked \
    --mount=type=bind,source=dockerfiles/programs/system.sh,target=/mnt/system.sh \
    RUN_USER=app PREFIX=/opt/venv sh /mnt/system.sh ca-certificates libgomp1 python3 python3-venv tini
ENV PATH=/opt/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

FROM bare AS system

FROM bare AS requirements
RUN --mount=type=bind,source=locks/cu13.txt,target=/mnt/lock.txt \
    --mount=type=bind,source=dockerfiles/programs/slice.py,target=/mnt/slice.py \
    mkdir /requirements \
 && python3 /mnt/slice.py /mnt/lock.txt nvidia-nvjitlink > /requirements/nvjitlink.txt \
 && python3 /mnt/slice.py /mnt/lock.txt cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-crt nvidia-cuda-cupti nvidia-cuda-nvcc nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-ml-py nvidia-nccl-cu13 nvidia-nvshmem-cu13 nvidia-nvtx nvidia-nvvm > /requirements/cuda.txt \
 && python3 /mnt/slice.py /mnt/lock.txt nvidia-cudnn-cu13 > /requirements/cudnn.txt \
 && python3 /mnt/slice.py /mnt/lock.txt filelock mpmath networkx setuptools sympy torch torchaudio torchvision triton > /requirements/pytorch.txt \
 && python3 /mnt/slice.py /mnt/lock.txt pygments > /requirements/shared+dev.txt \
 && python3 /mnt/slice.py /mnt/lock.txt aiohappyeyeballs aiohttp aiosignal anyio attrs certifi cffi charset-normalizer cloudpickle frozenlist fsspec h11 idna jinja2 markupsafe multidict packaging propcache psutil pycparser python-dateutil requests typing-extensions tzdata urllib3 yarl > /requirements/shared.txt \
 && python3 /mnt/slice.py /mnt/lock.txt httpcore httpx iniconfig pluggy pytest ruff > /requirements/test.txt \
 && python3 /mnt/slice.py /mnt/lock.txt joblib narwhals numpy pandas pillow pydicom pytz pyyaml scikit-learn scipy threadpoolctl > /requirements/core.txt \
 && python3 /mnt/slice.py /mnt/lock.txt jax jax-cuda13-pjrt jax-cuda13-plugin jaxlib ml-dtypes opt-einsum > /requirements/jax.txt \
 && python3 /mnt/slice.py /mnt/lock.txt contourpy cycler fonttools kiwisolver matplotlib opencv-python-headless polars polars-runtime-32 pyparsing ultralytics ultralytics-platform ultralytics-thop > /requirements/cv.txt \
 && python3 /mnt/slice.py /mnt/lock.txt annotated-doc annotated-types antlr4-python3-runtime cachetools click cryptography databricks-sdk fastapi gitdb gitpython google-auth hydra-core importlib-metadata invoke lightning lightning-utilities mlflow-skinny omegaconf opentelemetry-api opentelemetry-proto opentelemetry-sdk opentelemetry-semantic-conventions protobuf pyasn1 pyasn1-modules pydantic pydantic-core python-dotenv pytorch-lightning smmap sqlparse starlette torchmetrics tqdm typing-inspection uvicorn zipp > /requirements/train.txt \
 && python3 /mnt/slice.py /mnt/lock.txt argon2-cffi argon2-cffi-bindings arrow asttokens async-lru babel beautifulsoup4 bleach comm debugpy defusedxml executing fastjsonschema fqdn ipykernel ipython ipython-pygments-lexers isoduration jedi json5 jsonpointer jsonschema jsonschema-specifications jupyter-builder jupyter-client jupyter-core jupyter-events jupyter-lsp jupyter-server jupyter-server-terminals jupyterlab jupyterlab-pygments jupyterlab-server lark matplotlib-inline mistune nbclient nbconvert nbformat nest-asyncio2 notebook-shim overrides pandocfilters parso pexpect platformdirs prometheus-client prompt-toolkit ptyprocess pure-eval python-json-logger pyzmq referencing rfc3339-validator rfc3986-validator rfc3987-syntax rpds-py send2trash six soupsieve stack-data terminado tinycss2 tornado traitlets uri-template wcwidth webcolors webencodings websocket-client > /requirements/jupyter.txt \
 && python3 /mnt/slice.py /mnt/lock.txt uv > /requirements/installer.txt

FROM bare AS builder
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
RUN --mount=type=cache,id=uv-resolve-cu13-v2,target=/root/.cache/pip \
    --mount=type=bind,from=requirements,source=/requirements/installer.txt,target=/mnt/requirements.txt \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python3 -m venv /mnt/tools \
 && /mnt/tools/bin/pip install --quiet --no-compile --no-deps --require-hashes --only-binary=:all: --requirement=/mnt/requirements.txt

FROM builder AS layer-nvjitlink
RUN --mount=type=cache,id=uv-nvjitlink-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/nvjitlink.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-nvjitlink-bytecode
RUN --mount=type=bind,from=layer-nvjitlink,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-cuda
RUN --mount=type=cache,id=uv-cuda-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/cuda.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-cuda-bytecode
RUN --mount=type=bind,from=layer-cuda,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-cudnn
RUN --mount=type=cache,id=uv-cudnn-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/cudnn.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-cudnn-bytecode
RUN --mount=type=bind,from=layer-cudnn,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-pytorch
RUN --mount=type=cache,id=uv-pytorch-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/pytorch.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-pytorch-bytecode
RUN --mount=type=bind,from=layer-pytorch,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-shared-dev
RUN --mount=type=cache,id=uv-shared+dev-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/shared+dev.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-shared-dev-bytecode
RUN --mount=type=bind,from=layer-shared-dev,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-shared
RUN --mount=type=cache,id=uv-shared-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/shared.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-shared-bytecode
RUN --mount=type=bind,from=layer-shared,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-test
RUN --mount=type=cache,id=uv-test-cu13-v2,target=/mnt/uv \
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
RUN --mount=type=cache,id=uv-core-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/core.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-core-bytecode
RUN --mount=type=bind,from=layer-core,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-jax
RUN --mount=type=cache,id=uv-jax-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/jax.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-jax-bytecode
RUN --mount=type=bind,from=layer-jax,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-cv
RUN --mount=type=cache,id=uv-cv-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/cv.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-cv-bytecode
RUN --mount=type=bind,from=layer-cv,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-train
RUN --mount=type=cache,id=uv-train-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/train.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/requests/cu13/train.builders.txt,target=/mnt/builders.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --no-binary=antlr4-python3-runtime --build-constraints=/mnt/builders.txt --require-build-hashes --requirements=/mnt/requirements.txt

FROM bare AS layer-train-bytecode
RUN --mount=type=bind,from=layer-train,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM builder AS layer-jupyter
RUN --mount=type=cache,id=uv-jupyter-cu13-v2,target=/mnt/uv \
    --mount=type=bind,from=requirements,source=/requirements/jupyter.txt,target=/mnt/requirements.txt \
    --mount=type=bind,source=dockerfiles/programs/install.py,target=/mnt/install.py \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    --mount=type=secret,id=uv.toml,target=/etc/uv/uv.toml \
    python3 /mnt/install.py /opt/venv /mnt/tools/bin/uv pip install --python=/opt/venv/bin/python --cache-dir=/mnt/uv --link-mode=copy --no-deps --require-hashes --only-binary=:all: --requirements=/mnt/requirements.txt

FROM bare AS layer-jupyter-bytecode
RUN --mount=type=bind,from=layer-jupyter,source=/opt/venv,target=/mnt/layer \
    --mount=type=bind,source=dockerfiles/programs/bytecode.py,target=/mnt/bytecode.py \
    /opt/venv/bin/python -I -S /mnt/bytecode.py /mnt/layer /mnt/compiled /opt/venv

FROM bare AS source
WORKDIR /app
COPY . .
RUN rm -rf dockerfiles locks \
 && mkdir -p data outputs/checkpoints outputs/logs outputs/profiling outputs/reports outputs/sweeps \
 && find . -exec touch --no-dereference --date=@315532800 {} +

FROM system
COPY --from=layer-nvjitlink /opt/venv /opt/venv
COPY --from=layer-nvjitlink-bytecode /mnt/compiled /opt/venv
COPY --from=layer-cuda /opt/venv /opt/venv
COPY --from=layer-cuda-bytecode /mnt/compiled /opt/venv
COPY --from=layer-cudnn /opt/venv /opt/venv
COPY --from=layer-cudnn-bytecode /mnt/compiled /opt/venv
COPY --from=layer-pytorch /opt/venv /opt/venv
COPY --from=layer-pytorch-bytecode /mnt/compiled /opt/venv
COPY --from=layer-shared-dev /opt/venv /opt/venv
COPY --from=layer-shared-dev-bytecode /mnt/compiled /opt/venv
COPY --from=layer-shared /opt/venv /opt/venv
COPY --from=layer-shared-bytecode /mnt/compiled /opt/venv
COPY --from=layer-test /opt/venv /opt/venv
COPY --from=layer-test-bytecode /mnt/compiled /opt/venv
COPY --from=layer-core /opt/venv /opt/venv
COPY --from=layer-core-bytecode /mnt/compiled /opt/venv
COPY --from=layer-jax /opt/venv /opt/venv
COPY --from=layer-jax-bytecode /mnt/compiled /opt/venv
COPY --from=layer-cv /opt/venv /opt/venv
COPY --from=layer-cv-bytecode /mnt/compiled /opt/venv
COPY --from=layer-train /opt/venv /opt/venv
COPY --from=layer-train-bytecode /mnt/compiled /opt/venv
COPY --from=layer-jupyter /opt/venv /opt/venv
COPY --from=layer-jupyter-bytecode /mnt/compiled /opt/venv
COPY --from=source --chown=app:app /app /app
RUN --mount=type=bind,source=dockerfiles/probes,target=/mnt/probes \
    --mount=type=bind,source=dockerfiles/requests,target=/mnt/requests \
    --mount=type=tmpfs,target=/tmp \
    set -eu; cd /tmp; for subject in cu13/nvjitlink cu13/cuda cu13/cudnn cu13/pytorch cu13/shared+dev cu13/shared cu13/test cu13/core cu13/jax cu13/cv cu13/train cu13/jupyter dev; do \
      env HOME=/tmp JAX_PLATFORMS=cpu /opt/venv/bin/python /mnt/probes/run.py < /mnt/requests/$subject.json; \
    done
ENV PYTHONPATH="/app/src"
EXPOSE 8888
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8888/api')"]
WORKDIR /app
USER app
ENTRYPOINT ["tini", "--"]
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser"]
LABEL org.opencontainers.image.title="dev"
LABEL org.opencontainers.image.base.name="debian:bookworm-slim"
LABEL layerline.target="cu13"
