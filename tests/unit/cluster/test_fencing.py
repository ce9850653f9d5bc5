"""Nobody reaches a cluster of these files without its token, nor from outside; no file holds one."""

import re

import pytest

from tests.unit.cluster.files import CLUSTER, KUBERAY, LAUNCHER, ROOT, ray_cluster, read

README = (CLUSTER / "README.md").read_text()


@pytest.mark.parametrize("name", LAUNCHER)
def test_the_launchers_nodes_ask_for_the_token(name):
    config = read(name)
    lists = (config["head_start_ray_commands"], config["worker_start_ray_commands"])
    starts = [line for commands in lists for line in commands if "ray start" in line]
    assert len(starts) == 2
    assert all(line.startswith("RAY_AUTH_MODE=token ray start ") for line in starts)
    assert config["file_mounts"] == {"/home/keomni/.ray/auth_token": "~/.ray/auth_token"}


@pytest.mark.parametrize("name", LAUNCHER)
def test_the_launchers_dashboard_is_on_loopback_and_the_ports_are_the_readmes(name):
    [start] = [c for c in read(name)["head_start_ray_commands"] if "ray start" in c]
    assert "--dashboard-host=127.0.0.1" in start
    for port in re.findall(r"port=(\d+)", start):
        assert f"| {port} |" in README


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberays_clusters_ask_for_the_token_and_publish_nothing(name):
    cluster = ray_cluster(name)
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    [head] = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    for port in head["ports"]:
        assert f"| {port['containerPort']} |" in README


def test_kuberays_clusters_are_fenced():
    policy = read("kuberay/fence.yaml")["spec"]
    assert policy["podSelector"]["matchLabels"] == {"ray.io/is-ray-node": "yes"}
    assert policy["policyTypes"] == ["Ingress"]
    own, operator = policy["ingress"]
    assert own == {"from": [{"podSelector": {}}]}
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]


@pytest.mark.parametrize("name", KUBERAY)
def test_pods_have_no_rights_that_they_do_not_need(name):
    cluster = ray_cluster(name)
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in groups):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        [container] = pod["containers"]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False}


def test_versions_are_those_of_the_package():
    [ray] = re.findall(r'"ray\[default\]==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert {ray_cluster(name)["rayVersion"] for name in KUBERAY} == {ray}


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("docker/*")), ids=lambda p: p.name)
def test_an_image_is_pinned_and_runs_without_root(path):
    lines = path.read_text().splitlines()
    [base] = [line for line in lines if line.startswith("FROM ")]
    assert re.fullmatch(r"FROM [\w./-]+:\d+\.\d+\.\d+-[\w.-]+", base)
    [user] = [line for line in lines if line.startswith("USER ")]
    assert user == "USER 1000"
    assert "WORKDIR /opt/keomni_rl" in lines
    assert "RAY_AUTH_MODE=token" in path.read_text()
    copied = {line.split()[-1] for line in lines if line.startswith("COPY ")}
    assert copied == {"./", "scripts", "configs", "cluster", "keomni_rl"}
    named = {word for line in lines if line.startswith("COPY ") for word in line.split()[2:-1]}
    assert all((ROOT / word).exists() for word in named)
    assert {f"!{word}" for word in named} <= set((ROOT / ".dockerignore").read_text().split())


def test_no_file_holds_a_secret_and_no_upload_takes_one_along():
    for path in filter(lambda p: p.is_file(), CLUSTER.rglob("*")):
        assert not re.search(r"\b[0-9a-f]{32,}\b|AUTH_TOKEN=[^$]", path.read_text()), path
    env = read("runtime_env.yaml")
    assert env.keys() == {"env_vars", "excludes"}
    assert env["env_vars"].keys() == {"RAY_JOB_STOP_WAIT_TIME_S"}
