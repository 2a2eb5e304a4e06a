"""Holds a dashboard against the types that Grafana publishes: the npm package @grafana/schema, read by the TypeScript compiler.

Grafana itself ignores an option it does not know, so a misspelt one would be noticed by nobody.
"""

import base64
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

from stores.paths import ROOT

VERSION = "13.2.3"
_SHA512 = "rk8FEO7yuFfRTK/JD39747SZFQ+iCTQbpm6Mh2OjnqGx/g/uQQFx56t64eCLXWEyoR68ru4cigcGKrXk+ozrLg=="
_REGISTRY = "https://registry.npmjs.org"
_HOME = ROOT / "build" / f"grafana-schema-{VERSION}"
_PACKAGE = _HOME / "node_modules" / "@grafana" / "schema"
_DASHBOARD_DEFAULTS = "dist/esm/raw/dashboard/x/types.gen.mjs"
_PANEL_TYPES = "dist/types/raw/composable/{type}/panelcfg/x/types.gen"
_ATTEMPTS = 5

_ENUM = re.compile(r"export declare enum (\w+) \{(.*?)\n\}", re.DOTALL)
_MEMBER = re.compile(r"^\s*(\w+) = (.+?),?$", re.MULTILINE)
# The compiler goes into detail in indented lines below an error.
_ERROR = re.compile(r"^dashboard\.ts\((?P<line>\d+),\d+\): error TS\d+: (?P<what>.*(?:\n .*)*)", re.MULTILINE)

# Interfaces, not intersections: the compiler looks for unknown names inside an intersection only at its first level.
_PRELUDE = """\
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel } from '@grafana/schema';
interface Defaults<Custom> extends Omit<FieldConfig, 'custom'> { custom?: Custom }
interface Source<Custom> extends Omit<FieldConfigSource, 'defaults'> { defaults: Defaults<Custom> }
interface Of<Options, Custom> extends Omit<Panel, 'options' | 'fieldConfig'> { options: Options; fieldConfig: Source<Custom> }
"""


def complaints(dashboard: dict[str, Any]) -> list[str]:
    """What does not fit Grafana's types, one sentence each that begins with the panel's title; empty when all does."""
    _fetch()
    unknown = [f"{panel['title']}: Grafana has no panel {panel['type']}" for panel in _panels(dashboard) if not _knows(panel["type"])]
    lines = [*_PRELUDE.splitlines()]
    places: dict[int, str] = {}
    for place, line in _statements(dashboard):
        lines.append(line)
        places[len(lines)] = place
    with tempfile.TemporaryDirectory(dir=_HOME) as scratch:
        source = pathlib.Path(scratch, "dashboard.ts")
        source.write_text("\n".join(lines) + "\n")
        options = {"noEmit": True, "strict": True, "lib": ["es2015"], "types": [], "moduleResolution": "node"}
        pathlib.Path(scratch, "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": [source.name]}))
        said = subprocess.run(["tsc", "--pretty", "false"], cwd=scratch, capture_output=True, text=True, check=False)
    found = [f"{places[int(error['line'])]}: {error['what']}" for error in _ERROR.finditer(said.stdout)]
    if said.returncode != 0 and not found:
        raise RuntimeError(f"tsc failed:\n{said.stdout}{said.stderr}")
    return unknown + found


def schema_version() -> int:
    """The schemaVersion that this Grafana gives a new dashboard."""
    _fetch()
    found = re.search(r"schemaVersion: (\d+)", (_PACKAGE / _DASHBOARD_DEFAULTS).read_text())
    assert found, "the package no longer says which schemaVersion is current"
    return int(found[1])


def _panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _knows(panel_type: str) -> bool:
    return (_PACKAGE / f"{_PANEL_TYPES.format(type=panel_type)}.d.ts").exists()


def _statements(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(place, line of TypeScript): each value stands on one line, so that an error's line names its panel."""
    board = {name: value for name, value in dashboard.items() if name != "panels"}
    yield "dashboard", f"export const board: Omit<Dashboard, 'panels'> = {json.dumps(board)};"
    for panel in dashboard["panels"]:
        name = f"panel{panel['id']}"
        if panel["type"] == "row":
            yield panel["title"], f"export const {name}: RowPanel = {json.dumps(panel)};"
        elif _knows(panel["type"]):
            module = _PANEL_TYPES.format(type=panel["type"])
            has_custom = "interface FieldConfig " in (_PACKAGE / f"{module}.d.ts").read_text()
            custom = f"{name}t.FieldConfig" if has_custom else "never"
            yield panel["title"], f"import type * as {name}t from '@grafana/schema/{module}';"
            yield panel["title"], f"export const {name}: Of<{name}t.Options, {custom}> = {json.dumps(panel)};"
            for number, override in enumerate(panel["fieldConfig"]["overrides"]):
                value = json.dumps(_as_defaults(override["properties"]))
                yield f"{panel['title']}, override {number}", f"export const {name}o{number}: Defaults<{custom}> = {value};"


def _as_defaults(properties: list[dict[str, Any]]) -> dict[str, Any]:
    """An override's [{id, value}] as the field configuration it stands for: the types know an id only as a string."""
    field: dict[str, Any] = {}
    for each in properties:
        outer, _, inner = each["id"].partition(".")
        if inner:
            field.setdefault(outer, {})[inner] = each["value"]
        else:
            field[outer] = each["value"]
    return field


def _fetch() -> None:
    """Unpacks the package under build/, once; the checksum is the one this file names, whoever serves the package."""
    if _PACKAGE.exists():
        return
    registry = os.environ.get("npm_config_registry", _REGISTRY).rstrip("/")
    archive = _download(f"{registry}/@grafana/schema/-/schema-{VERSION}.tgz")
    found = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != _SHA512:
        raise RuntimeError(f"@grafana/schema {VERSION} from {registry} has another checksum: sha512-{found}")
    _PACKAGE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_PACKAGE.parent) as draft:
        with tarfile.open(fileobj=io.BytesIO(archive)) as package:
            for member in package:
                if member.name.endswith((".d.ts", "package.json", _DASHBOARD_DEFAULTS)):
                    file = pathlib.Path(draft, member.name)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(_ENUM.sub(_enum_as_union, package.extractfile(member).read().decode()))
        pathlib.Path(draft, "package").rename(_PACKAGE)


def _download(address: str) -> bytes:
    for attempt in range(_ATTEMPTS):
        try:
            with urllib.request.urlopen(address, timeout=60) as answer:
                return answer.read()
        except OSError as failed:
            reason = failed
            time.sleep(attempt)
    raise RuntimeError(f"{address} could not be fetched: {reason}")


def _enum_as_union(found: re.Match[str]) -> str:
    """JSON has the values of an enum, not its members: `enum A { B = "b" }` becomes the type "b", and A.B stays a type."""
    name, members = found[1], _MEMBER.findall(found[2])
    values = " | ".join(value for _, value in members)
    # A member such as `never` cannot name a type, and is not used as one.
    types = " ".join(f"type {member} = {value};" for member, value in members if member[0].isupper())
    return f"export type {name} = {values};\nexport declare namespace {name} {{ {types} }}"
