# The service in one image:
#   docker build -t marlinscribe:gpu .                          for NVIDIA cards
#   docker build -t marlinscribe:cpu --build-arg VARIANT=cpu .  for any x86-64 machine
# It listens beyond its own loopback, so it wants keys: docker run -e MARLINSCRIBE_API_KEYS=… -p …
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG VARIANT=gpu
# The cache would only fatten this stage; and pip's compiling is done below, better.
ENV PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1
# The locks alone, without the source: gigabytes that are installed again only when a lock changes.
COPY requirements /opt/marlinscribe/requirements
# Bytecode now, as the service's user could not write it later, and without it each start compiles
# for seconds. "unchecked": it holds whatever a later copy does to the sources' times. `|| true`:
# some packages carry templates that are no Python.
RUN /opt/marlinscribe/requirements/install.sh ${VARIANT} /opt/marlinscribe/venv locks \
 && (/opt/marlinscribe/venv/bin/python -m compileall -qq -j 0 --invalidation-mode unchecked-hash \
      /opt/marlinscribe/venv/lib /opt/marlinscribe/venv/share || true)

FROM ${BASE}
ARG VARIANT=gpu
# cpu: vLLM's kernels link libnuma. gpu: Triton compiles its launchers with gcc against Python's
# headers, which python:* images bring and Debian's python3 does not.
# The user's home is the cache, so that the kernels that Triton, Numba and vLLM compile outlive the
# container.
RUN case "${VARIANT}" in \
      cpu) packages="libnuma1" ;; \
      gpu) packages="gcc libc6-dev"; \
           header=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h; \
           [ -e "$header" ] || packages="$packages python3-dev" ;; \
      *) echo "VARIANT is gpu or cpu, not ${VARIANT}" >&2; exit 1 ;; \
    esac \
 && apt-get update \
 && apt-get install -y --no-install-recommends $packages \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /var/cache/marlinscribe marlinscribe \
 && install -d -o marlinscribe -g marlinscribe /var/cache/marlinscribe

COPY --from=build /opt/marlinscribe/venv /opt/marlinscribe/venv
WORKDIR /opt/marlinscribe
COPY pyproject.toml README.md ./
COPY requirements requirements
COPY app app
# What the service serves when told nothing, what that is calibrated on and proven by, and a
# recording to try.
COPY demo demo
# chmod: a checkout made under a strict umask would be unreadable to the service's user.
RUN PIP_NO_CACHE_DIR=1 requirements/install.sh ${VARIANT} venv project \
 && chmod -R a+rX app demo \
 && venv/bin/python -m compileall -q app

# Nothing under / is written from here on but the cache and the temporary folder: it also runs with a
# read-only root file system (docker run --read-only --tmpfs /tmp, as docker-compose.yml does).
# HOST: published ports reach the container's address, not its loopback.
# NVIDIA_*: nvidia-smi too ("utility"), by which the service sizes itself.
ENV PATH=/opt/marlinscribe/venv/bin:$PATH \
    MARLINSCRIBE_HOST=0.0.0.0 \
    MARLINSCRIBE_CACHE_DIR=/var/cache/marlinscribe \
    HF_HOME=/var/cache/marlinscribe/huggingface \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER marlinscribe
# After the chown above: a new volume takes over the folder's owner.
VOLUME /var/cache/marlinscribe
EXPOSE 8000
# A first start downloads and quantizes, for hours where a large model meets a CPU; one that fails
# exits by itself, and what was healthy once has no such time. No proxy: the container's proxy
# variables are not meant for its own loopback.
HEALTHCHECK --start-period=6h --interval=10s --timeout=5s --retries=3 CMD ["python", "-c", "\
import os, urllib.request as u; \
u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('MARLINSCRIBE_PORT', '8000') + '/health/ready', timeout=4)"]
ENTRYPOINT ["marlinscribe"]
CMD ["serve"]
