"""Reads Debian's package database, /var/lib/dpkg/status: the quickstart's real input."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

STATUS = pathlib.Path("/var/lib/dpkg/status")


@dataclasses.dataclass(frozen=True)
class Package:
    name: str
    title: str
    version: str
    installed_kb: int | None
    section: str
    maintainer: str
    paragraphs: list[str]
    needs: list[str]  # names of installed packages, each once


def installed(status: pathlib.Path = STATUS) -> list[Package]:
    """Every installed package, by name. One installed for two architectures counts once."""
    stanzas: dict[str, dict[str, str]] = {}
    for stanza in _stanzas(status.read_text(encoding="utf-8", errors="replace")):
        if stanza.get("Status", "").endswith(" installed"):
            stanzas.setdefault(stanza["Package"], stanza)
    # A dependency may name what a package only provides ("awk"): the first provider stands for it.
    providers = {name: name for name in stanzas}
    for name, stanza in stanzas.items():
        for provided in _relations(stanza.get("Provides", "")):
            providers.setdefault(provided[0], name)
    return [_package(stanza, providers) for _, stanza in sorted(stanzas.items())]


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        field = ""
        for line in block.splitlines():
            if line[:1].isspace():
                fields[field] += "\n" + line[1:]
            else:
                field, _, value = line.partition(":")
                fields[field] = value.strip()
        if "Package" in fields:
            yield fields


def _relations(field: str) -> list[list[str]]:
    """'a (>= 1) | b, c' as [['a', 'b'], ['c']]."""
    groups = [group.split("|") for group in field.replace("\n", " ").split(",") if group.strip()]
    return [[re.split(r"[\s(:\[]", choice.strip(), maxsplit=1)[0] for choice in group] for group in groups]


def _package(stanza: dict[str, str], providers: dict[str, str]) -> Package:
    needs = []
    for choices in _relations(stanza.get("Pre-Depends", "")) + _relations(stanza.get("Depends", "")):
        found = next((providers[choice] for choice in choices if choice in providers), None)
        if found and found != stanza["Package"]:
            needs.append(found)
    title, _, description = stanza.get("Description", "").partition("\n")
    size = stanza.get("Installed-Size", "")
    return Package(
        name=stanza["Package"],
        title=title or stanza["Package"],
        version=stanza["Version"],
        installed_kb=int(size) if size.isdigit() else None,
        section=stanza.get("Section", "unknown"),
        maintainer=re.sub(r"\s*<.*>$", "", stanza.get("Maintainer", "unknown")),
        paragraphs=_paragraphs(description),
        needs=list(dict.fromkeys(needs)),
    )


def _paragraphs(description: str) -> list[str]:
    paragraphs = [" ".join(part.split()) for part in re.split(r"(?m)^\.$", description)]
    return [paragraph for paragraph in paragraphs if paragraph]
