"""A store in the main interpreter, and one on the same file in a subinterpreter, which is destroyed."""

import importlib
import sys
import threading
from typing import Any

from orchestrator.state_store import StateStore

PROGRAM = """
import sys
sys.path[:0] = {paths!r}
from orchestrator.state_store import RunExistsError, StateStore, StateStoreError
with StateStore({path!r}) as store:
    try:
        store.start_run("main", "daily", {{}})
    except RunExistsError:
        store.start_run("sub {number}", "daily", {{"paths": [None, 1.5]}})
    with store.transaction():
        store.finish_run("sub {number}", "completed")
"""


def run(program: str) -> None:
    """Run a program in a subinterpreter that shares the interpreter lock."""
    if sys.version_info >= (3, 13):
        interpreters: Any = importlib.import_module("_interpreters")
        interpreter = interpreters.create("legacy")
        failed = interpreters.exec(interpreter, program)
        assert failed is None, failed
    else:
        interpreters = importlib.import_module("_xxsubinterpreters")
        interpreter = interpreters.create(isolated=False)
        interpreters.run_string(interpreter, program)
    interpreters.destroy(interpreter)


def write_in_each(path: str) -> dict[str, str]:
    """Write in the main interpreter, and in subinterpreters in its thread and in another one."""

    def write(number: int) -> None:
        run(PROGRAM.format(paths=sys.path, path=path, number=number))

    with StateStore(path) as store:
        store.start_run("main", "daily", {})
        write(1)
        thread = threading.Thread(target=write, args=(2,))
        thread.start()
        thread.join()
        store.finish_run("main", "completed")
        return {run.run_id: run.status for run in store.list_runs()}
