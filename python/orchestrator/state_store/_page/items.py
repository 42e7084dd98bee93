"""One item, with all that is known of it."""

from __future__ import annotations

from itertools import islice

from orchestrator.state_store import StateStore, unreadable
from orchestrator.state_store._page.asking import Answer, Asked, wanted
from orchestrator.state_store._page.runs import MOST_OF_A_NAME
from orchestrator.state_store._report.shapes import MOST_KEYS
from orchestrator.state_store._view import scores
from orchestrator.state_store._view.runs import item_of
from orchestrator.state_store._view.text import leaves, shown

_NEIGHBOURS = 20
"""From how many other items of its run the scales of an item's scores are taken: 7 of 10, or of 100?"""

_USUAL = ("promote", "monitor", "block")


def one_item(store: StateStore, asked: Asked) -> Answer:
    """Show an item."""
    item = item_of(store, wanted(asked, "id"))
    own = scores.scores(item["scores_json"])
    every = leaves(item["scores_json"]) if item["scores_json"] not in (None, {}, []) else iter(())
    besides = ((path, value) for path, value in every if path not in own)
    words = list(islice(besides, MOST_KEYS - len(own)))
    numbers = [own]
    # Scores of others that are not valid JSON are nothing to say of this item.
    with unreadable.shown():
        others = store.list_intel_items(run_id=item["run_id"], fields=("scores_json",), limit=_NEIGHBOURS)
        numbers += [scores.scores(each["scores_json"]) for each in others]
    ends = {path: scores.top(each[path] for each in numbers if path in each) for path in own}
    left_out = sum(1 for _ in besides)
    return Answer({"item": item}, {"numbers": own, "ends": ends, "words": words, "left_out": left_out})


def choices(store: StateStore, run_id: str) -> list[str]:
    """Return the decisions that a person may want to take: the usual ones, and those that the run's items have.

    Those that a button cannot show as they are, and so would not send as they are, are left out.
    """
    used = store.count_intel_items_by("decision", run_id=run_id)
    plain = (each for each in used if each and shown(each, MOST_OF_A_NAME) == each)
    return list(dict.fromkeys([*_USUAL, *plain]))[:8]
