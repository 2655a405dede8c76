#!/usr/bin/env bash
# Build the image with podman, without a Docker engine. Debian packages: podman buildah crun netavark debootstrap.
#
# BUILD_FLAGS goes to `podman build`: --volume, --secret id=pip,src=…, --build-arg TORCH_INDEX=…, for networks that need it.
# Where no registry can be reached, Debian itself becomes the base image: it has the same Python.
set -euo pipefail
cd "$(dirname "$0")/../.."
base=docker.io/library/python:3.11-slim-bookworm
if ! podman image exists "$base" && ! podman pull --quiet "$base"; then
    root=$(mktemp --directory)
    trap 'rm -rf "$root"' EXIT
    debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$root" >&2
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    tar -C "$root" -c . | podman import --quiet - "$base"
fi
# shellcheck disable=SC2086 # flags are words
podman build --pull=never --isolation chroot --quiet ${BUILD_FLAGS:-} \
    --build-arg "REVISION=$(git rev-parse HEAD)" --tag localhost/fair-distill .
