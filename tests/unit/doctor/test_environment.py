"""Variables are shown without their secrets; what is likely not meant is a warning."""

import pytest

from keomni_rl.doctor.environment import check_environment
from keomni_rl.doctor.finding import Status


def test_variables_that_matter_are_shown_and_secrets_are_not():
    environ = {
        "OMP_NUM_THREADS": "2",
        "HF_TOKEN": "hf_abcdefghijklmnop",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "RAY_AUTH_MODE": "token",
        "EDITOR": "vi",
    }
    (found,) = check_environment(environ, has_gpu=False)
    assert found.found.splitlines() == [
        "AWS_SECRET_ACCESS_KEY=[hidden]",
        "HF_TOKEN=[hidden]",
        "OMP_NUM_THREADS=2",
        "RAY_AUTH_MODE=token",
    ]


@pytest.mark.parametrize(
    ("environ", "has_gpu", "name"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, True, "CUDA_VISIBLE_DEVICES"),
        ({"NCCL_P2P_DISABLE": "1"}, True, "NCCL_P2P_DISABLE"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "example.com"}, False, "proxy"),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, False, "RAY_AUTH_MODE"),
    ],
)
def test_what_is_likely_not_meant(environ, has_gpu, name):
    _, found = check_environment(environ, has_gpu=has_gpu)
    assert (found.status, found.name) == (Status.WARNING, name)


@pytest.mark.parametrize(
    "environ",
    [
        {"CUDA_VISIBLE_DEVICES": "0,1"},
        {"NCCL_P2P_DISABLE": "0"},
        {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost, 127.0.0.1"},
        {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_MODE": "token"},
    ],
)
def test_what_is_meant_is_no_warning(environ):
    assert len(list(check_environment(environ, has_gpu=True))) == 1
