"""examples/cache, which services copy, as the tests use it."""

import pathlib
import sys

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "cache"
sys.path.insert(0, str(EXAMPLES))

from apex_cache import Cache, lease_key  # noqa: E402
from local_cache import LocalCache  # noqa: E402

__all__ = ["Cache", "LocalCache", "lease_key"]
