# The image for flow runs and workers: Python, the package with its extras, flows and tasks. It contains no compiler, and
# it runs as an ordinary user.
#
#   docker build --build-arg REVISION=$(git rev-parse HEAD) -t fair-distill .
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t fair-distill:cuda .
#
# To use a private package index, pass its address and credentials as a build secret, which no layer stores:
#   docker build --secret id=pip,src=pip.conf -t fair-distill .

ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

# The dependencies are a layer of their own, because they are most of the image and change rarely.
FROM ${PYTHON} AS dependencies
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_NATIVE_TLS=1 UV_LINK_MODE=copy
RUN python3 -m venv /opt/venv
COPY constraints.txt /src/
# pip installs torch first, because torch comes from an index that has builds for one type of device only.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/venv/bin/pip install --quiet --constraint /src/constraints.txt \
        ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} pip torch uv
WORKDIR /src
COPY pyproject.toml ./
RUN /opt/venv/bin/uv pip install --quiet --compile-bytecode --python /opt/venv --constraint constraints.txt \
        --requirement pyproject.toml --extra distill --extra validate --extra report --extra pipeline

FROM dependencies AS package
COPY README.md LICENSE prefect.toml ./
COPY fair_distill fair_distill
COPY flows flows
COPY tasks tasks
RUN /opt/venv/bin/uv build --quiet --wheel --out-dir /wheel .

FROM ${PYTHON}
# The base image pins the Debian release, so the version of git is not pinned here.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home app \
    && install --directory --owner app --group app /cache
COPY --from=dependencies /opt/venv /opt/venv
RUN --mount=type=bind,from=package,source=/wheel,target=/wheel \
    /opt/venv/bin/uv pip install --quiet --no-cache --offline --compile-bytecode --python /opt/venv --no-deps /wheel/*.whl
WORKDIR /opt/fair-distill
COPY flows flows
COPY tasks tasks
COPY prefect.yaml prefect.toml ./

ARG REVISION=unknown
LABEL org.opencontainers.image.title="fair-distill" \
      org.opencontainers.image.description="Distil group-labelled data towards the barycenter of its groups" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# Everything is written to /tmp and the home folder, so the rest of the file system can be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/fair-distill \
    PYTHONDONTWRITEBYTECODE=1 \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_SERVER_UI_STATIC_DIRECTORY=/tmp/prefect-ui \
    DVC_SITE_CACHE_DIR=/tmp/dvc \
    DO_NOT_TRACK=1
USER 1000
CMD ["fair-distill", "--help"]
