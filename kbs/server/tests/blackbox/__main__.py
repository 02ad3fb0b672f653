"""Runs every case, tells them apart, and fails if one failed."""

import sys
import traceback

import cases  # noqa: F401: each module adds its cases
import table  # noqa: F401
from client import DONE

failed = 0
for name, run in DONE:
    try:
        run()
        print("ok    ", name)
    except Exception:
        failed += 1
        print("FAILED", name)
        traceback.print_exc(file=sys.stdout)
sys.exit(1 if failed else 0)
