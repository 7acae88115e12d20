"""Print TEST_SQLSERVER_URL for a SQL Server on this machine: SQLSERVER_PASSWORD=... python tools/sqlserver.py.

The tests of tests/store and tests/flows/csc then run against it, too; in its tempdb, where nothing outlives the server.
Linux only; needs the package mssql-python-odbc, which brings Microsoft's ODBC Driver 18.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote_plus

HOST, DATABASE = "127.0.0.1,1433", "tempdb"


def main() -> int:
    """Print the line; 1 when password or driver is missing."""
    password, driver = os.environ.get("SQLSERVER_PASSWORD"), odbc_driver()
    if not password or driver is None:
        missing = "SQLSERVER_PASSWORD is not set" if not password else "pip install mssql-python-odbc"
        print(f"sqlserver: {missing}", file=sys.stderr)
        return 1
    print(f"TEST_SQLSERVER_URL={url(password, driver)}")
    return 0


def odbc_driver() -> Path | None:
    """The driver for this system, in the package that carries it."""
    package = find_spec("mssql_python_odbc")
    if package is None or package.origin is None:
        return None
    found = (Path(package.origin).parent / "libs" / "linux" / "debian_ubuntu").rglob("libmsodbcsql-18*")
    return next(iter(sorted(found)), None)


def url(password: str, driver: Path) -> str:
    """The address as SQLAlchemy wants it; the server's certificate is its own."""
    words = {
        "Driver": f"{{{driver}}}",
        "Server": HOST,
        "Database": DATABASE,
        "UID": "sa",
        "PWD": f"{{{password.replace('}', '}}')}}}",
        "TrustServerCertificate": "yes",
    }
    return "mssql+pyodbc:///?odbc_connect=" + quote_plus(";".join(f"{key}={value}" for key, value in words.items()))


if __name__ == "__main__":
    sys.exit(main())
