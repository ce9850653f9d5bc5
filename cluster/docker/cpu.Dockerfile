# A node without GPU, to try a cluster with the tiny model:
#   docker build -f cluster/docker/cpu.Dockerfile -t registry.example.com/keomni-rl:cpu .
FROM python:3.11.14-slim-bookworm
# g++: DeepSpeed's collectives are compiled; procps: cluster/leave.sh; rsync: `ray up`; wget: KubeRay's probes.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ procps rsync wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --shell /bin/bash keomni \
    && install --directory --owner keomni /opt/keomni_rl
USER 1000
WORKDIR /opt/keomni_rl
COPY --chown=1000 pyproject.toml README.md LICENSE ./
COPY --chown=1000 scripts scripts
COPY --chown=1000 configs configs
COPY --chown=1000 cluster cluster
COPY --chown=1000 keomni_rl keomni_rl
# Versions are those of pyproject.toml.
RUN PIP_NO_CACHE_DIR=1 bash scripts/setup.sh
ENV PATH=/opt/keomni_rl/.venv/bin:$PATH RAY_AUTH_MODE=token RAY_JOB_STOP_WAIT_TIME_S=600
# `ray up` works through login shells, which set PATH anew.
RUN echo "export PATH=$PATH" >>~/.bash_profile
CMD ["keomni-rl", "--help"]
