"""Stores to report of."""

from tests.browsing import browser, filled, hostile

__all__ = ["browser", "filled", "hostile"]
