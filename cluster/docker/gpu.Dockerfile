# A node with GPUs:
#   docker build -f cluster/docker/gpu.Dockerfile -t registry.example.com/keomni-rl:gpu .
# CUDA's major version is that of the torch which pyproject.toml names; nvcc compiles DeepSpeed's and
# vLLM's kernels where they have none built. The driver is the node's.
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04
# procps: cluster/leave.sh; rsync: `ray up`; wget: KubeRay's probes.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ procps python3.12-dev python3.12-venv rsync wget \
    && rm -rf /var/lib/apt/lists/* \
    && userdel --remove ubuntu \
    && useradd --uid 1000 --create-home --shell /bin/bash keomni \
    && install --directory --owner keomni /opt/keomni_rl
USER 1000
WORKDIR /opt/keomni_rl
COPY --chown=1000 pyproject.toml README.md LICENSE ./
COPY --chown=1000 scripts scripts
COPY --chown=1000 configs configs
COPY --chown=1000 cluster cluster
COPY --chown=1000 keomni_rl keomni_rl
# scripts/setup.sh asks the machine for its GPU, and a build has none: its steps, with pip's extra.
RUN python3.12 -m venv .venv \
    && .venv/bin/pip install --no-cache-dir "$(sed -n 's/.*"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)" \
    && .venv/bin/pip install --no-cache-dir -e ".[gpu,math]"
ENV PATH=/opt/keomni_rl/.venv/bin:$PATH RAY_AUTH_MODE=token RAY_JOB_STOP_WAIT_TIME_S=600
# `ray up` works through login shells, which set PATH anew.
RUN echo "export PATH=$PATH" >>~/.bash_profile
CMD ["keomni-rl", "--help"]
