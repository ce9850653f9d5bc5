"""The API's key goes to the API and nowhere else."""

import asyncio
import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from keomni_rl.actors.endpoint import NO_KEY, EndpointActor, read_key
from keomni_rl.config.schema import EndpointConfig
from keomni_rl.engines.specs import Sampling
from keomni_rl.errors import EngineError
from keomni_rl.types import GroupKey, Prompt

KEY = "sk-of-the-driver"


class Api(BaseHTTPRequestHandler):
    """Knows one model, and repeats the key of whoever wants an answer."""

    keys: list[str | None]

    def do_GET(self):
        self.keys.append(self.headers["Authorization"])
        self.send(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

    def do_POST(self):
        self.send(401, {"error": {"message": f"bad key {self.headers['Authorization']}"}})

    def send(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Api.keys = []
    server = HTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield EndpointConfig(
        url=f"http://127.0.0.1:{server.server_port}/v1",
        model="m",
        api_key_env="SOME_KEY",
        max_attempts=1,
    )
    server.shutdown()
    server.server_close()


def test_the_drivers_key_is_sent_and_stays_out_of_what_is_shown(
    config, question, clip, monkeypatch
):
    monkeypatch.setenv("SOME_KEY", f"{KEY}\n")
    key = pickle.loads(pickle.dumps(read_key(config)))
    monkeypatch.delenv("SOME_KEY")  # a worker's environment lacks it
    assert KEY not in repr((key, config))
    sampling = Sampling(num_completions=1, max_new_tokens=4, temperature=0.0)

    async def ask() -> None:
        actor = EndpointActor(config, key)
        await actor.ready()
        await actor.answer(GroupKey("r", 0), Prompt(question=question, text="?"), clip, sampling)

    with pytest.raises(EngineError, match=r"bad key Bearer \*\*\*") as refused:
        asyncio.run(ask())
    assert Api.keys == [f"Bearer {KEY}"]
    assert refused.value.__suppress_context__  # the library's own error has the key


def test_without_a_key_none_is_sent(config, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "")
    asyncio.run(EndpointActor(config, read_key(config)).ready())
    assert Api.keys == [f"Bearer {NO_KEY}"]
