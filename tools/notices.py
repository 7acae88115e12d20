"""What a bundle holds besides our own code, with the licence texts that have to go with it, and as an SBOM.

Called by build_exe.spec with the files that PyInstaller has gathered; ends the build where a component has no licence
text. A file belongs to the distribution that installed it, to a library that a wheel brings along (``_IN_WHEELS``), to
a package of the system, or to Python itself.

    python tools/notices.py     prints the table of docs/third-party.md
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LICENCES = ROOT / "packaging" / "licences"
NOTICES, SBOM = "THIRD-PARTY-NOTICES.txt", "SBOM.cdx.json"
_TEXTS = re.compile(r"(?i)^(licen[cs]e|copying|notice|authors)")
_OWN = {"dataflows"}
_BUILT_WITH = ("pyinstaller",)  # its starter is part of every program; its licence has an exception for that
# Libraries that wheels bring along without naming their licence: beginning of the file's name, what it is, SPDX, text.
_IN_WHEELS = (
    ("libssl", "OpenSSL", "Apache-2.0", "Apache-2.0.txt"),
    ("libcrypto", "OpenSSL", "Apache-2.0", "Apache-2.0.txt"),
    ("libpq", "PostgreSQL client library", "PostgreSQL", "PostgreSQL.txt"),
    ("libgssapi_krb5", "MIT Kerberos", "MIT", "MIT-krb5.txt"),
    ("libk5crypto", "MIT Kerberos", "MIT", "MIT-krb5.txt"),
    ("libkrb5", "MIT Kerberos", "MIT", "MIT-krb5.txt"),
    ("libcom_err", "MIT Kerberos", "MIT", "MIT-krb5.txt"),
    ("liblber", "OpenLDAP", "OLDAP-2.8", "OLDAP-2.8.txt"),
    ("libldap", "OpenLDAP", "OLDAP-2.8", "OLDAP-2.8.txt"),
    ("libsasl2", "Cyrus SASL", "BSD-4-Clause", "BSD-4-Clause-CMU.txt"),
    ("libkeyutils", "keyutils", "LGPL-2.1-or-later", "LGPL-2.1.txt"),
    ("libcurl", "curl", "curl", "curl.txt"),
    ("z-", "zlib", "Zlib", "Zlib.txt"),
    ("zstd", "Zstandard", "BSD-3-Clause", "BSD-3-Clause-zstd.txt"),
    ("libcrypt", "libxcrypt", "LGPL-2.1-or-later", "LGPL-2.1.txt"),
)
_SPDX = {"MIT License": "MIT", "ISC License (ISCL)": "ISC", "GNU General Public License v2 (GPLv2)": "GPL-2.0-or-later"}
_SCRIPTS = (
    ("swagger-ui-bundle.js", "Swagger UI", "Apache-2.0", "Apache-2.0.txt"),
    ("redoc.standalone.js", "ReDoc", "MIT", "MIT-ReDoc.txt"),
)
_NAMED_BY_THEIR_WHEEL = ("libcrc32c", "libyajl", "librdkafka", "msvcp", "vcruntime", "concrt")


@dataclass(frozen=True, order=True)
class Component:
    """One thing that is not ours: its licence as an SPDX expression or in its own words, and the texts."""

    name: str
    version: str = ""
    licence: str = field(default="", compare=False)
    texts: tuple[str, ...] = field(default=(), compare=False)
    package: str = field(default="", compare=False)
    """A package URL, where there is one."""


def components(files: Iterable[str]) -> list[Component]:
    """Say what the files of a bundle belong to.

    Raises:
        LookupError: a component has no licence text, or a file belongs to nothing that is known.
    """
    found = {_python(), *(_of_distribution(name) for name in _BUILT_WITH if _is_installed(name))}
    owners = _owners()
    for file in {str(Path(name).resolve()) for name in files}:
        if Path(file).is_relative_to(ROOT) and "site-packages" not in Path(file).parts:
            continue  # our own, and what the build has made of it
        owner = owners.get(file)
        if owner is not None and owner.lower() not in _OWN:
            found.add(_of_distribution(owner))
        if (inside := _in_wheel(Path(file))) is not None:
            found.add(inside)
        elif owner is None and not _of_python(Path(file)):
            found.add(_of_system(file))
    if missing := sorted(one.name for one in found if not one.texts):
        raise LookupError(f"no licence text: {', '.join(missing)}")
    return sorted(found)


def _is_installed(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


@functools.cache
def _owners() -> dict[str, str]:
    """Every installed file, with the name of the distribution that it belongs to."""
    owners: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name, base = distribution.metadata["Name"], os.path.realpath(str(distribution.locate_file("")))
        owners |= {os.path.normpath(os.path.join(base, file)): name for file in distribution.files or ()}  # noqa: PTH118
    return owners


@functools.cache
def _of_distribution(name: str) -> Component:
    distribution = importlib.metadata.distribution(name)
    found = [
        Path(str(distribution.locate_file(file)))
        for file in distribution.files or ()
        if _TEXTS.match(file.name) and not file.name.endswith((".py", ".pyc", ".json"))
    ]
    texts = [_text(path) for path in sorted(found)]
    version = distribution.version
    package = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{version}"
    return Component(name, version, licence_of(distribution), tuple(dict.fromkeys(texts)), package)


def licence_of(distribution: importlib.metadata.Distribution) -> str:
    """The SPDX expression that a distribution names, else its classifier or its own short words."""
    told = distribution.metadata
    expression, *_ = [*(told.get_all("License-Expression") or ()), *map(_short, told.get_all("License") or ())] or [""]
    if expression:
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or () if line.startswith("License")
    ]
    return " AND ".join(_SPDX.get(name, name) for name in classifiers) or "see its text"


def _short(licence: str) -> str:
    """The old free field where it holds a name, such as ``MPL-2.0``, and not a whole text."""
    first = licence.strip().partition("\n")[0]
    return first if re.fullmatch(r"[\w.+-]{2,30}", first) else ""


def _python() -> Component:
    version = ".".join(map(str, sys.version_info[:3]))
    places = [Path(sys.base_prefix), Path(sysconfig.get_path("stdlib"))]
    text = next((place / "LICENSE.txt" for place in places if (place / "LICENSE.txt").exists()), None)
    if text is None:
        raise LookupError("this Python has no LICENSE.txt")
    return Component("CPython", version, "PSF-2.0", (_text(text),), f"pkg:generic/cpython@{version}")


def _of_python(file: Path) -> bool:
    return file.is_relative_to(Path(sys.base_prefix).resolve())


def _in_wheel(file: Path) -> Component | None:
    """A library that a wheel brings along in a folder ``NAME.libs``, or a script for browsers."""
    for name, title, licence, text in _SCRIPTS:
        if file.name == name:
            return Component(title, f"in {file.parent.parent.name}", licence, (_text(LICENCES / text),))
    if not file.parent.name.endswith(".libs") or file.name.startswith(_NAMED_BY_THEIR_WHEEL):
        return None
    for beginning, name, licence, text in _IN_WHEELS:
        if file.name.startswith(beginning):
            return Component(name, f"in {file.parent.name.removesuffix('.libs')}", licence, (_text(LICENCES / text),))
    raise LookupError(f"{file.name} in {file.parent.name} has no licence in tools/notices.py")


@functools.cache
def _of_system(file: str) -> Component:
    """A library of the Linux system that the bundle was built on, by what its package says."""
    if shutil.which("dpkg") is None:
        raise LookupError(f"{Path(file).name} belongs to no distribution, and there is no dpkg to ask")
    for name in (file, file.removeprefix("/usr")):  # where /lib is a link, packages say the one or the other
        done = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return _of_package(done.stdout.partition(":")[0])
    raise LookupError(f"{Path(file).name} belongs to no package of this system")


@functools.cache
def _of_package(name: str) -> Component:
    asked = ["dpkg-query", "-W", "-f", "${Version}\\n", name]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.partition("\n")[0]
    text = _text(Path("/usr/share/doc", name, "copyright"))
    return Component(name, version, "see its text", (text,), f"pkg:deb/debian/{name}@{version}")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n").strip()


# --- what is written --------------------------------------------------------------------------------------------------


def notices(program: str, found: Sequence[Component]) -> str:
    """The file of all notices; a text that stands already is named, not repeated."""
    head = f"{program} is made of the following. Each part is under its own licence, whose text follows."
    table = "\n".join(f"  {one.name} {one.version}: {one.licence}".rstrip() for one in found)
    parts, where = [head, table], dict[str, str]()
    for one in found:
        parts.append(f"{'=' * 100}\n{one.name} {one.version}".rstrip() + f"\n{one.licence}")
        for text in one.texts:
            parts.append(f"The text is that of {where[text]}, above." if text in where else text)
            where.setdefault(text, one.name)
    return "\n\n".join(parts) + "\n"


def sbom(program: str, version: str, found: Sequence[Component]) -> str:
    """The same as a CycloneDX 1.6 document, without a time, so that one commit gives one text."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.component import ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    bom, licences = Bom(), LicenseFactory()
    bom.metadata.component = Part(name=program, version=version, type=ComponentType.APPLICATION, bom_ref=program)
    for one in found:
        reference = f"{one.name} {one.version}"
        purl = PackageURL.from_string(one.package) if one.package else None
        part = Part(name=one.name, version=one.version, type=ComponentType.LIBRARY, bom_ref=reference, purl=purl)
        part.licenses.add(licences.make_from_string(one.licence))
        bom.components.add(part)
        bom.register_dependency(bom.metadata.component, [part])
    document = json.loads(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string())
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path, program: str, version: str, files: Iterable[str]) -> list[Path]:
    """Write both files into a folder; returns them. Ends the build where a licence is missing."""
    try:
        found = components(files)
    except LookupError as error:
        sys.exit(f"notices: {error.args[0]}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTICES).write_text(notices(program, found), encoding="utf-8", newline="\n")
    (folder / SBOM).write_text(sbom(program, version, found), encoding="utf-8", newline="\n")
    return [folder / NOTICES, folder / SBOM]


def needed(name: str, extras: Iterable[str] = ()) -> set[str]:
    """Every distribution that one needs here, with extras, by the name it has itself; without it."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [(name, frozenset(extras))]
    while waiting:
        wanted, chosen = waiting.pop()
        for line in importlib.metadata.distribution(wanted).requires or ():
            wish = Requirement(line)
            holds = wish.marker is None or any(wish.marker.evaluate({"extra": extra}) for extra in ("", *chosen))
            if holds and (owner := importlib.metadata.distribution(wish.name).metadata["Name"]) not in found:
                found.add(owner)
                waiting.append((wish.name, frozenset(wish.extras)))
    return found


def table() -> str:
    """What stands in docs/third-party.md: the libraries that the programs are made of, with their licences."""
    rows = [_of_distribution(name) for name in sorted(needed("dataflows", ("serve", "kafka")), key=str.lower)]
    lines = [f"| {one.name} | {one.licence.replace('|', '/')} |" for one in rows]
    native = sorted({f"| {name} | {licence} |" for _, name, licence, _ in (*_IN_WHEELS, *_SCRIPTS)})
    return "\n".join(["| part | licence |", "| --- | --- |", "| CPython | PSF-2.0 |", *lines, *native])


if __name__ == "__main__":
    print(table())
