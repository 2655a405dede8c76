# What flow runs and workers run in: Python, the package with its extras, flows and tasks. No compilers, no root.
#
#   docker build --build-arg REVISION=$(git rev-parse HEAD) -t fair-distill .
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 -t fair-distill:cuda .
#
# An index of one's own, credentials and all, comes as a secret that no layer keeps: --secret id=pip,src=pip.conf

ARG PYTHON=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_NATIVE_TLS=1 UV_LINK_MODE=copy
RUN python3 -m venv /opt/venv
COPY constraints.txt /src/
# torch first and by pip: its index has builds for one kind of device, and the constraints say which version.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/venv/bin/pip install --quiet --constraint /src/constraints.txt \
        ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} pip torch uv
WORKDIR /src
# What the package needs comes first: it changes seldom, and is most of the image.
COPY pyproject.toml ./
RUN /opt/venv/bin/uv pip install --quiet --compile-bytecode --python /opt/venv --constraint constraints.txt \
        --requirement pyproject.toml --extra distill --extra validate --extra report --extra pipeline
COPY README.md LICENSE ./
COPY fair_distill fair_distill
RUN /opt/venv/bin/uv pip install --quiet --compile-bytecode --python /opt/venv --no-deps .

FROM ${PYTHON}
# The base image is pinned by its tag; git is what Debian has of it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home app
COPY --from=build /opt/venv /opt/venv
RUN install --directory --owner app --group app /cache
WORKDIR /opt/fair-distill
COPY flows flows
COPY tasks tasks
COPY prefect.yaml prefect.toml ./

ARG REVISION=unknown
LABEL org.opencontainers.image.title="fair-distill" \
      org.opencontainers.image.description="Distil group-labelled data towards the barycenter of its groups" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
# All that is written goes to /tmp and the home: the rest of the file system may be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/fair-distill \
    PYTHONDONTWRITEBYTECODE=1 \
    PREFECT_HOME=/tmp/prefect \
    DVC_SITE_CACHE_DIR=/tmp/dvc \
    DO_NOT_TRACK=1
USER 1000
CMD ["fair-distill", "--help"]
