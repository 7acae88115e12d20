"""Every bundle says what it holds: each part with its licence text, and the build ends where one is missing."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def notices() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "tools"))
    import notices

    yield notices
    sys.path.remove(str(ROOT / "tools"))


def files_of(*names: str) -> list[str]:
    return [
        str(distribution.locate_file(file))
        for distribution in map(importlib.metadata.distribution, names)
        for file in distribution.files or ()
    ]


def test_the_licences_that_were_once_missing(notices: ModuleType) -> None:
    found = notices.components(files_of("certifi", "orjson", "psycopg", "requests", "msal"))
    licences = {one.name: one.licence for one in found}
    assert licences["certifi"] == "MPL-2.0"
    assert licences["orjson"].startswith("MPL-2.0")
    assert licences["psycopg"] == "LGPL-3.0-only"
    assert {"CPython", "requests", "msal"} <= set(licences)
    text = notices.notices("dataflows", found)
    for words in ("Mozilla Public License", "GNU LESSER GENERAL PUBLIC LICENSE", "PYTHON SOFTWARE FOUNDATION LICENSE"):
        assert words in text
    requests = text.partition(f"requests {importlib.metadata.version('requests')}\nApache-2.0")[2]
    assert "Kenneth Reitz" in requests[:12_000]  # its NOTICE


def test_every_distribution_that_the_program_needs_has_a_text(notices: ModuleType) -> None:
    needed = sorted(notices.needed("dataflows", ("serve", "kafka")))
    assert len(needed) > 40
    found = notices.components(path for name in needed for path in files_of(name) if path.endswith("METADATA"))
    assert {one.name for one in found if one.package.startswith("pkg:pypi/")} >= set(needed)


def test_libraries_inside_a_wheel(notices: ModuleType, tmp_path: Path) -> None:
    libraries = tmp_path / "site-packages" / "psycopg_binary.libs"
    libraries.mkdir(parents=True)
    for name in ("libssl-6a9b88ec.so.3", "libpq-e9b5c9ac.so.5.18", "libcrypt-bc2db45e.so.1"):
        (libraries / name).touch()
        found = notices._in_wheel(libraries / name)
        assert found is not None
        assert found.texts
    with pytest.raises(LookupError, match=r"libnew-1\.so in psycopg_binary\.libs"):
        notices._in_wheel(libraries / "libnew-1.so")


def test_a_file_that_nobody_knows_ends_the_build(notices: ModuleType, tmp_path: Path) -> None:
    stray = tmp_path / "stray.so"
    stray.touch()
    with pytest.raises(LookupError, match=r"stray\.so"):
        notices.components([str(stray)])
    with pytest.raises(SystemExit, match=r"notices: .*stray\.so"):
        notices.write(tmp_path / "out", "dataflows", "1.2.3", [str(stray)])


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 11), reason="other libraries are needed elsewhere"
)
def test_the_page_of_the_docs_names_all(notices: ModuleType) -> None:
    page = (ROOT / "docs" / "third-party.md").read_text(encoding="utf-8")
    assert notices.table() in page


def test_the_list_for_machines_is_of_the_standards_schema(notices: ModuleType) -> None:
    schemas = Path(str(importlib.metadata.distribution("cyclonedx-python-lib").locate_file("cyclonedx/schema/_res")))
    parts = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in schemas.glob("*.schema.json")}
    registry = Registry().with_resources(
        (place + name, Resource.from_contents(part, DRAFT7))
        for name, part in parts.items()
        for place in ("", "http://cyclonedx.org/schema/")
    )
    schema = parts["bom-1.6.SNAPSHOT.schema.json"]
    text = notices.sbom("dataflows", "1.2.3", notices.components(files_of("certifi", "psycopg", "confluent-kafka")))
    document = json.loads(text)
    Draft7Validator(schema, registry=registry).validate(document)
    assert "timestamp" not in text
    assert {"name": "dataflows", "version": "1.2.3"}.items() <= document["metadata"]["component"].items()
    assert "pkg:pypi/certifi@" in text
    assert not Draft7Validator(schema, registry=registry).is_valid({**document, "components": [{"name": "x"}]})
