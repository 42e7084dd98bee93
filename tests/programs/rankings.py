"""What lists by a number cost in memory."""

from collections import deque
from pathlib import Path

from orchestrator.state_store import StateStore


def peak() -> int:
    """Return the most bytes of memory that this process has had since `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Let the peak be what the process has now."""
    Path("/proc/self/clear_refs").write_text("5")


def grown(path: str) -> list[int]:
    """Return by how many bytes a page and an iteration make the process grow meanwhile."""
    with StateStore(path, read_only=True, pool_size=1) as store:
        store.list_intel_items(limit=600)
        forget_peak()
        before = peak()
        store.list_intel_items(order_by="scores_json.total", limit=50)
        of_page = peak() - before
        forget_peak()
        before = peak()
        deque(store.iter_intel_items(order_by="scores_json.total", fields=["item_id"]), maxlen=0)
        return [of_page, peak() - before]
