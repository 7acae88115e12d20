"""What Microsoft's driver hands over where SQL Server refuses something, with SQL Server's own numbers and texts.

The texts of the server are those of sys.messages ("Database engine events and errors" in Microsoft's reference), the
driver's own as reports of it show them; pyodbc puts state, number and the ODBC call around them. Names are synthetic.
"""
# ruff: noqa: E501 - texts as they are

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import exc

from dataflows.errors import ExitCode

SERVER = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"
DRIVER = "[Microsoft][ODBC Driver 18 for SQL Server]"


class Said(NamedTuple):
    """One error: as which class and state it comes, its text, and what a run makes of it."""

    source: str
    kind: type[exc.DBAPIError]
    state: str
    text: str
    code: ExitCode
    words: str


def _engine(number: int, text: str, code: ExitCode, words: str, *, state: str = "42000") -> Said:
    """An error of the database engine, met while a statement was executed."""
    return Said(
        f"sys.messages {number}",
        exc.ProgrammingError,
        state,
        f"{SERVER}{text} ({number}) (SQLExecDirectW)",
        code,
        words,
    )


SAID = [
    # --- logging in: texts of the driver, Linux and Windows -----------------------------------------------------
    Said(
        "mkleehammer/pyodbc issue 610",
        exc.OperationalError,
        "08001",
        f"{DRIVER}SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate] (-1)"
        " (SQLDriverConnect); [08001] Client unable to establish connection. For solutions related to encryption errors,"
        " see https://go.example.org (-1)",
        ExitCode.SETTINGS,
        "certificate",
    ),
    Said(
        "mkleehammer/pyodbc issue 1309",
        exc.OperationalError,
        "08001",
        f"{DRIVER}SSL Provider: The certificate chain was issued by an authority that is not trusted.\r\n (-2146893019)"
        " (SQLDriverConnect); [08001] Client unable to establish connection (-2146893019)",
        ExitCode.SETTINGS,
        "certificate",
    ),
    Said(
        "the same in another language (Schannel 0x80090322)",
        exc.OperationalError,
        "08001",
        f"{DRIVER}SSL-Anbieter: Der Zielprinzipalname ist falsch.\r\n (-2146893022) (SQLDriverConnect)",
        ExitCode.SETTINGS,
        "certificate",
    ),
    Said(
        "MicrosoftDocs/sql-docs issue 1983; mkleehammer/pyodbc issue 1250",
        exc.DBAPIError,
        "HY000",
        f"{DRIVER}SSPI Provider: No Kerberos credentials available (default cache: FILE:/tmp/krb5cc_0) (851968)"
        " (SQLDriverConnect); [HY000] Cannot generate SSPI context (851968)",
        ExitCode.ACCESS_REFUSED,
        "Kerberos",
    ),
    Said(
        "the same on Windows",
        exc.DBAPIError,
        "HY000",
        f"{DRIVER}SSPI Provider: No credentials are available in the security package\r\n (-2146893042) (SQLDriverConnect)",
        ExitCode.ACCESS_REFUSED,
        "Kerberos",
    ),
    Said(
        "sys.messages 18456",
        exc.InterfaceError,
        "28000",
        f"{SERVER}Login failed for user 'loader'. (18456) (SQLDriverConnect)",
        ExitCode.ACCESS_REFUSED,
        "login",
    ),
    Said(
        "sys.messages 18470",
        exc.InterfaceError,
        "28000",
        f"{SERVER}Login failed for user 'loader'. Reason: The account is disabled. (18470) (SQLDriverConnect)",
        ExitCode.ACCESS_REFUSED,
        "login",
    ),
    Said(
        "sys.messages 40615 (Azure SQL)",
        exc.ProgrammingError,
        "42000",
        f"{SERVER}Cannot open server 'ssd' requested by the login. Client with IP address '192.0.2.7' is not allowed to"
        " access the server. (40615) (SQLDriverConnect)",
        ExitCode.ACCESS_REFUSED,
        "machine",
    ),
    Said(
        "sys.messages 4060",
        exc.ProgrammingError,
        "42000",
        f'{SERVER}Cannot open database "SSD" requested by the login. The login failed. (4060) (SQLDriverConnect)',
        ExitCode.SETTINGS,
        "no such database",
    ),
    Said(
        "the driver, with nobody listening",
        exc.OperationalError,
        "HYT00",
        f"{DRIVER}Login timeout expired (0) (SQLDriverConnect)",
        ExitCode.SERVICE_DOWN,
        "reached",
    ),
    Said(
        "mkleehammer/pyodbc issue 610",
        exc.OperationalError,
        "08001",
        f"{DRIVER}TCP Provider: Error code 0x2746 (10054) (SQLDriverConnect)",
        ExitCode.SERVICE_DOWN,
        "reached",
    ),
    # --- replicas and read-only databases ------------------------------------------------------------------------
    _engine(
        978,
        "The target database ('SSD') is in an availability group and is currently accessible for connections when the"
        " application intent is set to read only.",
        ExitCode.SETTINGS,
        "is read-only",
    ),
    _engine(
        3906,
        'Failed to update database "SSD" because the database is read-only.',
        ExitCode.SETTINGS,
        "is read-only",
        state="25000",
    ),
    _engine(
        976,
        "The target database, 'SSD', is participating in an availability group and is currently not accessible for"
        " queries.",
        ExitCode.SERVICE_DOWN,
        "replica",
    ),
    _engine(
        983,
        "Unable to access availability database 'SSD' because the database replica is not in the PRIMARY or SECONDARY"
        " role.",
        ExitCode.SERVICE_DOWN,
        "replica",
    ),
    # --- the server is short of something ------------------------------------------------------------------------
    _engine(
        701,
        "There is insufficient system memory in resource pool 'default' to run this query.",
        ExitCode.SERVICE_DOWN,
        "memory",
    ),
    _engine(
        8645,
        "A timeout occurred while waiting for memory resources to execute the query in resource pool 'default' (2)."
        " Rerun the query.",
        ExitCode.SERVICE_DOWN,
        "memory",
    ),
    _engine(9002, "The transaction log for database 'SSD' is full due to 'LOG_BACKUP'.", ExitCode.SERVICE_DOWN, "full"),
    _engine(
        1105,
        "Could not allocate space for object 'dbo.ssd_api_data_staging' in database 'SSD' because the 'PRIMARY'"
        " filegroup is full.",
        ExitCode.SERVICE_DOWN,
        "full",
    ),
    _engine(6005, "SHUTDOWN is in progress.", ExitCode.SERVICE_DOWN, "shutting down", state="HY000"),
    _engine(40613, "Database 'SSD' on server 'ssd' is not currently available.", ExitCode.SERVICE_DOWN, "replica"),
    # --- locks: tried again before anybody hears of it --------------------------------------------------------------
    _engine(
        1205,
        "Transaction (Process ID 57) was deadlocked on lock resources with another process and has been chosen as the"
        " deadlock victim. Rerun the transaction.",
        ExitCode.SERVICE_DOWN,
        "locked by another",
        state="40001",
    ),
    _engine(1222, "Lock request time out period exceeded.", ExitCode.SERVICE_DOWN, "locked by another"),
    _engine(
        3960,
        "Snapshot isolation transaction aborted due to update conflict.",
        ExitCode.SERVICE_DOWN,
        "locked by another",
    ),
    # --- what is written is not taken ------------------------------------------------------------------------------
    _engine(
        2628,
        "String or binary data would be truncated in table 'SSD.dbo.ssd_api_data_staging', column 'api_response'."
        " Truncated value: 'hush'.",
        ExitCode.SETTINGS,
        "does not accept what",
    ),
    _engine(
        8152, "String or binary data would be truncated.", ExitCode.SETTINGS, "does not accept what", state="22001"
    ),
    _engine(
        515,
        "Cannot insert the value NULL into column 'previous_json_payload', table 'SSD.dbo.ssd_api_data_staging'; column"
        " does not allow nulls. UPDATE fails.",
        ExitCode.SETTINGS,
        "does not accept what",
        state="23000",
    ),
    _engine(
        8116,
        "Argument data type ntext is invalid for argument 2 of hashbytes function.",
        ExitCode.SETTINGS,
        "does not accept what",
    ),
    _engine(
        402,
        "The data types ntext and varchar are incompatible in the equal to operator.",
        ExitCode.SETTINGS,
        "does not accept what",
    ),
    _engine(
        257,
        "Implicit conversion from data type nvarchar to binary is not allowed. Use the CONVERT function to run this"
        " query.",
        ExitCode.SETTINGS,
        "does not accept what",
    ),
    _engine(3609, "The transaction ended in the trigger. The batch has been aborted.", ExitCode.SETTINGS, "trigger"),
    _engine(50000, "hush: this row is closed", ExitCode.SETTINGS, "trigger"),
    Said(
        "a trigger that rolls back and says why, as pyodbc joins the two",
        exc.ProgrammingError,
        "42000",
        f"{SERVER}hush (50000) (SQLExecDirectW); [42000] {SERVER}The transaction ended in the trigger. (3609)",
        ExitCode.SETTINGS,
        "trigger",
    ),
    # --- and the rest -------------------------------------------------------------------------------------------------
    _engine(
        229,
        "The UPDATE permission was denied on the object 'ssd_api_data_staging'.",
        ExitCode.ACCESS_REFUSED,
        "read or write",
    ),
    _engine(
        208,
        "Invalid object name 'dbo.ssd_api_data_staging'.",
        ExitCode.SETTINGS,
        "no such table",
        state="42S02",
    ),
    _engine(207, "Invalid column name 'row_state'.", ExitCode.SETTINGS, "lacks a column", state="42S22"),
    _engine(102, "Incorrect syntax near 'hush'.", ExitCode.BUG, "refuses a statement"),
    Said(
        "the driver, past its time limit",
        exc.OperationalError,
        "HYT00",
        f"{DRIVER}Query timeout expired (0) (SQLExecDirectW)",
        ExitCode.SERVICE_DOWN,
        "reached",
    ),
    Said(
        "the driver, with its session killed",
        exc.OperationalError,
        "08S01",
        f"{DRIVER}Communication link failure (10054) (SQLExecDirectW)",
        ExitCode.SERVICE_DOWN,
        "reached",
    ),
]
