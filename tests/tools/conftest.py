"""Makes the quickstart's modules and `checks` importable."""

import pathlib
import sys

_ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "tools"), str(_ROOT / "examples" / "quickstart")]
