"""The scripts that services are given are the ones that the sidecar runs."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_recipe_is_the_sidecars_own_in_every_language() -> None:
    source = (ROOT / "sidecar/src/stores/redis/scripts.h").read_text()
    own = [re.search(rf'{name} = R"\(\n(.*?)\)";', source, flags=re.DOTALL)[1].strip() for name in ("kGetOrLeaseLua", "kFillLua")]
    page = (ROOT / "docs/reference/cache.md").read_text()
    assert [text.strip() for text in re.findall(r"```lua\n(.*?)```", page, flags=re.DOTALL)] == own
    python = (ROOT / "examples/cache/apex_cache.py").read_text()
    cpp = (ROOT / "examples/cache/apex_cache.h").read_text()
    source = (ROOT / "sidecar/src/stores/redis/tags.h").read_text()
    tagged = [re.search(rf'{name} = R"\(\n(.*?)\)";', source, flags=re.DOTALL)[1].strip() for name in ("kGetOrTagLeaseLua", "kFillTaggedLua")]
    for script in own + tagged:
        assert script in python and script in cpp
