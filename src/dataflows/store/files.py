"""TEMPORARY stand-in by the lead; REMOTE overwrites this file whole."""
from pathlib import Path
def write_whole(path: Path, data: bytes, private: bool=True) -> None: path.write_bytes(data)
def private_folder(path: Path) -> None: path.mkdir(parents=True, exist_ok=True)
