"""A run as one HTML file to mail or archive; and the pieces of HTML that the page is made of as well."""

from __future__ import annotations

from orchestrator.state_store._report.writing import write

__all__ = ["write"]
