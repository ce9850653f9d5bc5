"""``python -m keomni_rl.doctor.probes MODULE ARGUMENTS``: one finding a line, once it is known.

What else is printed, by whatever is loaded, goes to standard error.
"""

import importlib
import json
import os
import sys


def main() -> None:
    """Run the probe of the module that is named, with its arguments as a JSON object."""
    with os.fdopen(os.dup(1), "w") as findings:
        os.dup2(2, 1)
        module = importlib.import_module(sys.argv[1])
        for finding in module.probe(**json.loads(sys.argv[2])):
            findings.write(finding.model_dump_json() + "\n")
            findings.flush()


if __name__ == "__main__":
    main()
