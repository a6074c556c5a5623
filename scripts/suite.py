"""`aivt test`: ruff, mypy strict, then the tests, whose closing line comes last."""

import argparse
import subprocess
import sys
from importlib.util import find_spec

from apps.shared.errors import MissingError
from apps.shared.settings import PROJECT_DIR

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
)


def main(options: argparse.Namespace) -> int:
    """Run everything, also after a failure; 0 when all is well, else the last failure's exit code."""
    if not all(map(find_spec, ("ruff", "mypy", "pytest"))):
        raise MissingError(
            "no_test_tools", "the test tools are missing", fix="Run: python scripts/aivt.py test"
        )
    code = 0
    for module, *arguments in (*CHECKS, ("pytest", *options.arguments)):
        print(f"== {module} {' '.join(arguments)}", flush=True)
        command = [sys.executable, "-m", module, *arguments]
        code = subprocess.run(command, cwd=PROJECT_DIR, check=False).returncode or code  # noqa: S603 - fixed
    return code
