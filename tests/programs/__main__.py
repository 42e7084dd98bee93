"""Run one function and print what it returns as JSON."""

import importlib
import json
import sys

from tests.programs import say

if __name__ == "__main__":
    module, function, arguments = sys.argv[1:]
    say(json.dumps(getattr(importlib.import_module(module), function)(*json.loads(arguments))))
