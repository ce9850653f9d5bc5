"""The report in both its forms."""

import io

import pytest
from pydantic import ValidationError
from rich.console import Console

from keomni_rl.doctor.finding import Diagnosis, Finding, Status, failure, ok, warning, worst
from keomni_rl.doctor.table import show

FINDINGS = (
    ok("versions", "torch", "2.13.0"),
    warning("machine", "memory", "4 GiB of 8 GiB available", "end other programs " * 6),
    failure("engines", "deepspeed's operators", "/very/long/" + "path/" * 30, "mend it"),
)


def diagnosis(*findings: Finding) -> Diagnosis:
    return Diagnosis(
        keomni_rl="0.1.0", time=1.0, seconds=2.0, status=worst(findings), findings=findings
    )


def test_a_log_of_80_columns_says_in_words_what_is_wrong():
    out = io.StringIO()
    show(diagnosis(*FINDINGS), Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out.getvalue()
    assert lines[-1] == "1 ok, 1 warning, 1 failure in 2 s"
    assert [line.split()[:2] for line in lines if line.startswith("  FAIL")] == [
        ["FAILURE", "deepspeed's"]
    ]
    assert "-> mend it" in out.getvalue()


def test_the_worst_finding_is_the_status():
    assert worst(FINDINGS) is Status.FAILURE
    assert worst(FINDINGS[:2]) is Status.WARNING
    assert worst(FINDINGS[:1]) is Status.OK


def test_trouble_without_a_remedy_is_no_finding():
    with pytest.raises(ValidationError, match="has a remedy"):
        failure("engines", "vllm", "does not load", "")
    with pytest.raises(ValidationError, match="has a remedy"):
        Finding(area="engines", name="vllm", status=Status.OK, found="loads", remedy="why")


def test_the_schema_is_what_others_read():
    """A field that goes or changes its meaning makes `format` grow."""
    assert diagnosis(FINDINGS[0]).model_dump(mode="json") == {
        "format": 1,
        "keomni_rl": "0.1.0",
        "time": 1.0,
        "seconds": 2.0,
        "status": "ok",
        "findings": [
            {"area": "versions", "name": "torch", "status": "ok", "found": "2.13.0", "remedy": None}
        ],
    }
