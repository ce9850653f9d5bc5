"""What is a secret, by its name, its form or its value; and what is none."""

from pathlib import Path

import pytest

from keomni_rl.doctor.scrub import HIDDEN, Scrubber, is_secret

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0"


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "api_key",
        "apiKey",
        "AWS_SECRET_ACCESS_KEY",
        "db.password",
        "client-secret",
        "PASSWD",
    ],
)
def test_secret_names(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_new_tokens",
        "key",
        "RAY_AUTH_MODE",
        "PWD",
        "OLDPWD",
        "KeyError",
        "eos_token",
        "author",
        "monkey",
        "time/step_s",
    ],
)
def test_names_of_nothing_secret(name):
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("s3 at https://alice:hunter22@store.example.com/x", "alice"),
        ("s3 at https://alice:hunter22@store.example.com/x", "hunter22"),
        ("postgres://u:p@ss/word", "p@ss"),
        ("curl -H 'Authorization: Bearer abcdef0123456789'", "abcdef0123456789"),
        ("--api-key sk_live_1 --model x", "sk_live_1"),
        ("--token=verysecret", "verysecret"),
        ('{"password": "two words"}', "two words"),
        ("{'client_secret': 'x;y'}", "x;y"),
        (r"{\"token\": \"escaped1\"}", "escaped1"),
        ("GET /x?sig=1&X-Amz-Signature=deadbeef00&y=2", "deadbeef00"),
        ("pushing with hf_AbCdEfGhIjKlMnOpQrSt", "hf_AbCdEfGhIjKlMnOpQrSt"),
        ("key id AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        (f"cookie {JWT}", JWT),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("/home/bob/data", "bob"),
    ],
)
def test_secrets_in_a_text(text, secret):
    scrubbed = Scrubber({}, Path("/home/alice")).text(text)
    assert secret not in scrubbed
    assert HIDDEN in scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'thinker.model'",
        "rollout/completion_tokens_mean: 16.2",
        "s3://bucket/folder?region=eu",
        "unknown configuration key 'rollout.sise'",
        "user@host:~$ git clone git@github.com:o/r.git",
    ],
)
def test_ordinary_text_stays(text):
    assert Scrubber({}, Path("/home/alice")).text(text) == text


def test_a_secret_of_one_place_is_known_in_all():
    scrubber = Scrubber(
        {"DB_URL": "pg://bob:s3cr3t-1@db", "MY_TOKEN": "envsecret"}, Path("/home/me")
    )
    scrubber.learn({"endpoint": {"password": "from config/1"}, "deep": [{"secrets": ["listed99"]}]})
    scrubber.learn("login token=fromlog77, retry")
    text = "s3cr3t-1 envsecret from config/1 from%20config%2F1 listed99 fromlog77 bob"
    assert scrubber.text(text) == " ".join([HIDDEN] * 6) + " bob"


def test_a_tree_keeps_its_shape_and_numbers():
    scrubber = Scrubber({}, Path("/home/me"))
    tree = {"a": [1, 2.5, None, True], "token": "x", "passwords": ["y"], "path": "/home/me/x"}
    assert scrubber.tree(tree) == {
        "a": [1, 2.5, None, True],
        "token": HIDDEN,
        "passwords": HIDDEN,
        "path": "~/x",
    }


def test_a_home_like_another_one_is_told_apart():
    assert Scrubber({}, Path("/root")).text("/root/x /rootless /root") == "~/x /rootless ~"
