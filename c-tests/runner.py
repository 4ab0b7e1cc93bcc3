"""Runs the tests of a client in Python, and prints what run.sh counts."""

import os
import shutil
import signal
import tempfile
import traceback


def run_tests(program, functions):
    """Runs each function whose name begins with "test_", with a path for a store of its own; the
    exit status of the program."""
    tests = [(name, test) for name, test in functions.items() if name.startswith("test_")]
    print(f"plan {program} {len(tests)}", flush=True)
    # Ends a program that hangs, and none on a slow machine.
    signal.alarm(600)
    directory = tempfile.mkdtemp()
    try:
        for name, test in tests:
            test(os.path.join(directory, name + ".db"))
            print(f"ok {program}: {name[5:]}", flush=True)
    except Exception:  # pylint: disable=broad-except  # whatever it is, the test has failed
        print(f"FAILED {program}: {traceback.format_exc()}")
        return 1
    finally:
        shutil.rmtree(directory)
    return 0
