"""What the playground refuses, and how it says so: no engine is needed for a refusal."""

import io

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from keomni_rl.errors import ConfigError
from keomni_rl.playground import app as playground
from keomni_rl.playground.serve import LOOPBACK_NAMES, _bound, _is_loopback, names_of
from keomni_rl.playground.speaker import Speaker

NOISE = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1


def sound(seconds: float = 1.0, format: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.resize(NOISE, round(16_000 * seconds)), 16_000, format=format)
    return file.getvalue()


@pytest.fixture(scope="module")
def client(tiny_model):
    speaker = Speaker("tiny", tiny_model, max_audio_s=5, max_new_tokens=40)
    app = playground.make_app([speaker], hosts=LOOPBACK_NAMES)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def ask(client, clip=None, number=0, headers=None, **fields):
    data = {"question": "What is heard?"} | fields
    files = {"clip": ("../../etc/passwd.wav", sound() if clip is None else clip)}
    return client.post(f"/ask/{number}", data=data, files=files, headers=headers)


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "tiny" in page.text
    assert "src=" not in page.text
    assert 'href="data:,"' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "access-control-allow-origin" not in page.headers
    for path in ("/docs", "/openapi.json", "/redoc", "/../pyproject.toml"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_a_page_is_served_under_the_names_of_loopback(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_a_name_that_was_made_to_lead_here_is_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 400
    assert ask(client, headers={"Host": host}).status_code == 400


def test_another_page_may_not_ask(client):
    for origin in ("http://evil.example", "http://127.0.0.1:9", "null"):
        refused = ask(client, headers={"Origin": origin})
        assert refused.status_code == 403
        assert refused.json() == {"error": "another page asks; open the playground itself"}


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (b"RIFF but no sound", "the clip: not a sound file that can be read"),
        (sound()[:-1000], "the clip: truncated, 1000 bytes fewer than its header promises"),
        (sound(5.5), "the clip: 5.5 s long, the limit is 5 s"),
        (sound(0.01), "the clip: 0.010 s long, wanted at least 0.1 s"),
        (b"", "the clip: empty audio file"),
    ],
)
def test_a_clip_that_cannot_be_heard_is_a_sentence(client, clip, message):
    refused = ask(client, clip)
    assert refused.status_code == 422
    assert refused.json()["error"].startswith(message)
    assert "keomni_rl-clip" not in refused.text


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"choices": ["dog"]}, 422, "choices: wanted two or more different ones, or none"),
        ({"choices": ["dog", "dog"]}, 422, "choices: wanted two or more different ones, or none"),
        ({"choices": [str(n) for n in range(27)]}, 422, "choices: "),
        ({"choices": ["dog", "c" * 501]}, 422, "choices.1: "),
        ({"question": ""}, 422, "question: "),
        ({"question": "x" * 8_001}, 422, "question: "),
        ({"question": "\u00e4" * 4_000}, 422, "the question with its choices is "),
        (
            {"question": "What <answer>?"},
            422,
            "question 'asked': 'What <answer>?' holds '<answer>'",
        ),
        ({"temperature": "3"}, 422, "temperature: "),
        ({"temperature": "nan"}, 422, "temperature: "),
        ({"number": 1}, 404, "there is no such model here"),
        ({"number": -1}, 404, "there is no such model here"),
    ],
)
def test_a_question_that_cannot_be_put_is_a_sentence(client, fields, status, message):
    refused = ask(client, **fields)
    assert refused.status_code == status
    assert refused.json()["error"].startswith(message)


def test_a_request_without_a_clip_is_refused(client):
    refused = client.post("/ask/0", data={"question": "What is heard?"})
    assert refused.status_code == 422
    assert refused.json()["error"].startswith("clip: ")


def test_a_body_is_measured_before_it_is_read(client):
    large = bytes(playground.MAX_BODY_BYTES + 1)
    refused = ask(client, large)
    assert refused.status_code == 413
    assert refused.json() == {"error": "more than 32 MiB; cut the clip or compress it"}
    unmeasured = client.post("/ask/0", content=iter([b"x"]))
    assert unmeasured.status_code == 411


def test_what_is_loopback():
    assert all(map(_is_loopback, ("127.0.0.1", "127.0.0.9", "::1", "localhost")))
    assert not any(map(_is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.org")))


def test_a_port_that_is_taken_is_told():
    with _bound("127.0.0.1", 0) as door:
        door.listen()
        port = door.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port {port}: cannot be had"):
            _bound("127.0.0.1", port)


def test_models_have_names_of_their_own(tmp_path):
    for name in ("a/model", "b/model", "b/other"):
        (tmp_path / name).mkdir(parents=True)
    a, b, other = (tmp_path / n for n in ("a/model", "b/model", "b/other"))
    assert names_of([a, other]) == ["model", "other"]
    assert names_of([a, b]) == [f"{a} (1)", f"{b} (2)"]
