"""Run a target for some seconds, or one input of it."""

import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz import driver

if __name__ == "__main__":
    target, what = sys.argv[1:]
    if Path(what).is_file():
        print(driver.load(target).run(Path(what).read_bytes()))
    else:
        seed = random.randrange(2**32)
        print(f"seed {seed}", flush=True)
        print(driver.fuzz(target, float(what), seed, tempfile.mkdtemp()))
