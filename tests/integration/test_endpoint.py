"""A model behind an OpenAI-compatible server: vLLM's own, on loopback, and a door that refuses."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from keomni_rl.driver.export import export_model
from keomni_rl.engines.network import free_port


@pytest.fixture(scope="module")
def server(inputs, tmp_path_factory):
    """vLLM's server with the tiny model; yields its API's address."""
    folder = tmp_path_factory.mktemp("served")
    export_model(inputs.model, folder / "model", layout="full")
    port = free_port()
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
                *("--model", str(folder / "model"), "--served-model-name", "tiny"),
                *("--port", str(port)),
                *("--host", "127.0.0.1", "--dtype", "float32", "--max-model-len", "1024"),
                *("--enforce-eager", "--limit-mm-per-prompt", '{"audio":1,"image":0,"video":0}'),
            ],
            stdout=log,
            stderr=log,
            env=environment,
        )
        while not answers_to(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait()


def answers_to(url) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


class Door(BaseHTTPRequestHandler):
    """Stands before the server and refuses every second completion for load."""

    behind = ""
    refused = 0
    passed = 0
    lock = threading.Lock()

    def do_GET(self):
        with urllib.request.urlopen(self.behind + self.path) as reply:
            self.send(200, reply.read())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            is_refused = Door.refused <= Door.passed
            Door.refused += is_refused
            Door.passed += not is_refused
        if is_refused:
            self.send(429, b'{"error": {"message": "too many"}}')
            return
        request = urllib.request.Request(
            self.behind + self.path, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as reply:
            self.send(200, reply.read())

    def send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


def evaluate(url, model, inputs, run_dir, *words):
    return subprocess.run(
        [
            *(sys.executable, "-m", "keomni_rl.cli", "evaluate", f"run_dir={run_dir}"),
            *(f"endpoint.url={url}", f"endpoint.model={model}", "--json"),
            *(f"evaluation.file={inputs.heldout}", "evaluation.max_new_tokens=40", *words),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_served_model_answers_through_a_door_that_refuses_half(server, inputs, tmp_path):
    Door.behind = server
    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{door.server_address[1]}/v1"
        words = ("evaluation.max_in_flight=8", "endpoint.max_attempts=30")
        done = evaluate(url, "tiny", inputs, tmp_path / "run", *words)
        door.shutdown()
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout)
    assert summary["n"] == 160
    assert summary["failed"] == summary["missing"] == 0
    assert Door.refused >= 100
    assert summary["format"] > 0.9  # it is the warmed-up model that answered, and it heard
    assert summary["accuracy"] > 0.3
    predictions = json.loads((tmp_path / "run" / "predictions.json").read_text())
    assert all(p["model_output"] and p["finish_reason"] in ("stop", "length") for p in predictions)


def test_a_wrong_name_or_address_is_one_clear_line(server, inputs, tmp_path):
    done = evaluate(f"{server}/v1", "other", inputs, tmp_path / "a")
    assert done.returncode == 2, done.stderr
    assert "serves no model 'other', it has tiny" in " ".join(done.stderr.split())
    closed = f"http://127.0.0.1:{free_port()}/v1"
    done = evaluate(closed, "tiny", inputs, tmp_path / "b", "endpoint.max_attempts=1")
    assert done.returncode == 2, done.stderr
    assert "no answer to a list of models" in " ".join(done.stderr.split())


def test_the_key_is_read_from_the_environment_and_kept_out_of_the_folder(inputs, tmp_path):
    closed = f"http://127.0.0.1:{free_port()}/v1"
    words = ("endpoint.api_key_env=SOME_KEY", "endpoint.max_attempts=1")
    done = evaluate(closed, "tiny", inputs, tmp_path / "run", *words)
    assert "SOME_KEY" in done.stderr
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "api_key_env: SOME_KEY" in config
