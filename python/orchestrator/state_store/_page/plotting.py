"""One number of telemetry over the last runs of a type."""

from __future__ import annotations

from typing import Any

from orchestrator.state_store import RunRecord, StateStore
from orchestrator.state_store._page.asking import Answer, Asked, choice
from orchestrator.state_store._page.runs import MOST_OF_A_NAME
from orchestrator.state_store._report.shapes import Axis, axis, middle
from orchestrator.state_store._view import scores

_NUMBERS = ("50", "20", "100")
_MOST_PATHS = 40
_MOST_ROWS = 40


def plot(store: StateStore, asked: Asked) -> Answer:
    """Show the number at `path` in the telemetry of the last runs of `type`, oldest first."""
    types = store.count_runs_by("run_type")
    run_type = asked.get("type") or next(iter(types), "")
    number = int(choice(asked, "runs", _NUMBERS))
    runs = store.list_runs(run_type=run_type, limit=number)[::-1]
    documents = store.list_telemetry(run.run_id for run in runs)
    numbers = {run_id: scores.scores(document) for run_id, document in documents.items()}
    names = dict.fromkeys(path for each in reversed(numbers.values()) for path in each)
    paths = [name for name in names if len(name) <= MOST_OF_A_NAME][:_MOST_PATHS]
    path = asked.get("path") or next(iter(paths), None)
    values = [numbers.get(run.run_id, {}).get(path or "") for run in runs]
    data = {
        "type": run_type,
        "path": path,
        "paths": paths,
        "points": [
            {"run_id": run.run_id, "started_at": run.started_at, "status": run.status, "value": value}
            for run, value in zip(runs, values, strict=True)
        ],
    }
    drawn = [value for value in values if value is not None]
    scale = axis(drawn) if drawn else None
    more = {
        "types": types,
        "number": str(number),
        "choices_of_runs": sorted(_NUMBERS, key=int),
        "all_rows": len(runs),
        "rows": list(zip(runs, values, strict=True))[: -_MOST_ROWS - 1 : -1],
        "oldest": runs[0] if runs else None,
        "axis": scale,
        "median": middle(drawn),
        **_drawing(runs, values, scale),
    }
    return Answer(data, more)


def _drawing(runs: list[RunRecord], values: list[float | None], scale: Axis | None) -> dict[str, Any]:
    """Return the dots of a plot in percent, and the line between them."""
    if scale is None:
        return {"dots": [], "line": ""}
    width = 100 / len(runs)
    dots = [
        {"x": f"{width * (place + 0.5):.4g}", "y": f"{100 - scale.place(value):.4g}", "run": run, "value": value}
        for place, (run, value) in enumerate(zip(runs, values, strict=True))
        if value is not None
    ]
    return {"dots": dots, "line": " ".join(f"{dot['x']},{dot['y']}" for dot in dots)}
