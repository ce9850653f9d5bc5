"""The driver and what lies under it never load an engine."""

import subprocess
import sys

HEAVY = ("vllm", "deepspeed")


def test_the_driver_loads_no_engine():
    code = (
        "import pkgutil, importlib, sys, keomni_rl\n"
        "for part in ('config', 'algorithms', 'rewards', 'data', 'evaluation', 'observe', 'planning', 'driver', 'doctor', 'playground'):\n"
        "    package = importlib.import_module('keomni_rl.' + part)\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if '.probes' not in module.name:  # run in processes of their own\n"
        "            importlib.import_module(module.name)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_help_loads_almost_nothing():
    code = (
        "import sys\n"
        "import keomni_rl.cli\n"
        "print([n for n in ('torch', 'ray', 'vllm', 'transformers') if n in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
