"""Programs that import the extension module from elsewhere."""

import importlib.util
from importlib.machinery import ExtensionFileLoader


def load(path: str) -> str | None:
    """Load the extension module in this file; return the error, if it refuses."""
    spec = importlib.util.spec_from_file_location("_core", path, loader=ExtensionFileLoader("_core", path))
    assert spec is not None
    assert spec.loader is not None
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except ImportError as error:
        return str(error)
    return None
