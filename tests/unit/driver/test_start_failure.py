import subprocess
import sys
import tempfile

import pytest
from pydantic import BaseModel, ValidationError, model_validator

from keomni_rl.driver.start_failure import find_cause, one_line, stderr_to

NEEDED = (
    "To serve at least one request with the model's max seq len (9000), (2.0 GiB KV cache is "
    "needed, which is larger than the available KV cache memory (1.0 GiB). Try decreasing it."
)
LOGGED = f"""\
(EngineCore pid=7) ERROR 08-02 10:00:00 [core.py:1510] EngineCore failed to start.
(EngineCore pid=7) ERROR 08-02 10:00:00 [core.py:1510] Traceback (most recent call last):
(EngineCore pid=7) ERROR 08-02 10:00:00 [core.py:1510] ValueError: {NEEDED}
Process EngineCore:
Traceback (most recent call last):
  File "core.py", line 1, in run
    raise e
"""


@pytest.mark.parametrize("ending", ["", f"ValueError: {NEEDED}\nleaked 1 semaphore\n"])
def test_the_cause_is_found_in_what_the_engines_process_prints(ending):
    assert find_cause(LOGGED + ending) == NEEDED


def test_what_holds_no_exception_has_no_cause():
    assert find_cause("Traceback (most recent call last):\n  UserWarning: old\n") is None
    assert one_line(RuntimeError()) == "RuntimeError()"


def test_a_refused_setting_is_one_line():
    class Settings(BaseModel):
        @model_validator(mode="after")
        def refuse(self):
            raise ValueError("max_model_len (9) is greater than 8")

    with pytest.raises(ValidationError) as refused:
        Settings()
    assert one_line(refused.value) == "max_model_len (9) is greater than 8"
    traceback = f"Traceback\npydantic_core._pydantic_core.ValidationError: {refused.value}"
    assert find_cause(traceback) == one_line(refused.value)


def test_what_a_child_prints_goes_to_the_file_for_good_and_ours_only_meanwhile(capfd):
    with tempfile.TemporaryFile("a+b") as file:
        say = "import sys, time; [print(w, file=sys.stderr, flush=True) or input() for w in 'ab']"
        with stderr_to(file):
            print("ours", file=sys.__stderr__, flush=True)
            child = subprocess.Popen([sys.executable, "-c", say], stdin=subprocess.PIPE)
        print("shown", file=sys.__stderr__, flush=True)
        child.communicate(b"\n\n")
        file.seek(0)
        assert file.read().decode().split() == ["ours", "a", "b"]
    assert "shown" in capfd.readouterr().err
