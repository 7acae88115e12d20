"""Folders on a network share, where SQLite's write-ahead log corrupts."""

from __future__ import annotations

import sys
from pathlib import Path

from dataflows.errors import SettingUnusable


def refuse_network_share(folder: Path) -> None:
    """Raise SettingUnusable when ``folder`` lies on a network share (SQLite's WAL corrupts there)."""
    if _on_network(folder):
        raise SettingUnusable(
            f"the data folder is on a network share: {folder}", hint="set DATA_DIR to a folder on a local disk"
        )


def _on_network(folder: Path) -> bool:
    if sys.platform == "win32":
        import ctypes

        anchor = folder.absolute().anchor
        remote_drive = 4  # DRIVE_REMOTE of the Windows API
        return anchor.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(anchor) == remote_drive
    return _file_system(folder) in {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p.nfs", "fuse.sshfs"}


def _file_system(folder: Path) -> str:
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    best, kind = "", ""
    place = str(folder.absolute())
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, system, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, system
    return kind
