"""The settings: where a value comes from, which values are refused, and that no secret is ever shown."""

from __future__ import annotations

import os
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from dataflows.errors import SettingUnusable
from dataflows.settings import Secret, Settings, envfile, families, fields_of, load, table

ODBC = (
    "Driver={ODBC Driver 18 for SQL Server};Server=db.example.org\\HDM;UID=loader;PWD={p #1;x}};Encrypt=yes # no remark"
)


@pytest.fixture(autouse=True)
def clean_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*(spec.name for spec in table()), *envfile.NAMES, "NO_COLOR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def env_file(folder: Path, text: str, name: str = ".env") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_defaults_without_any_file() -> None:
    settings = load()
    assert (settings.batch_size, settings.table_name, settings.use_partial_payload) == (
        100,
        "ssd_api_data_staging",
        True,
    )
    assert settings.origin("BATCH_SIZE") == "default"
    assert settings.env_file is None


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file(tmp_path, "BATCH_SIZE=10\nLA_CODE=845\nCSC_WORKERS=3\n")
    monkeypatch.setenv("BATCH_SIZE", "20")
    monkeypatch.setenv("LA_CODE", "846")
    settings = load(overrides={"batch_size": 30, "la_code": None})
    assert (settings.batch_size, settings.la_code, settings.csc_workers) == (30, "846", 3)
    origins = [settings.origin(name) for name in ("BATCH_SIZE", "LA_CODE", "CSC_WORKERS", "TABLE_NAME")]
    assert origins == ["flag", "environment", "env file", "default"]


def test_empty_values_count_as_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file(tmp_path, "LA_CODE=845\nBATCH_SIZE=\n")
    monkeypatch.setenv("LA_CODE", "")
    settings = load()
    assert (settings.la_code, settings.batch_size) == ("845", 100)
    assert settings.origin("LA_CODE") == "env file"


@pytest.mark.parametrize("written", [ODBC, f"'{ODBC}'", f'"{ODBC}"'])
def test_an_odbc_string_survives(written: str, tmp_path: Path) -> None:
    env_file(tmp_path, f"DB_CONNECTION_STRING={written}\n")
    found = load().db_connection_string
    assert found is not None
    assert found.reveal() == ODBC


# --- the env file of the D2I tool ---------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [ODBC, f"'{ODBC}'", f'"{ODBC}"'])
def test_its_connection_string_is_taken_with_one_warning(written: str, tmp_path: Path) -> None:
    path = env_file(tmp_path, f"SQL_CONN_STR={written}\nUSER_SERVER=another\nUSER_DATABASE=another\n")
    path.chmod(0o600)
    settings = load()
    assert settings.db_connection_string is not None
    assert settings.db_connection_string.reveal() == ODBC
    assert settings.origin("DB_CONNECTION_STRING") == "env file"
    assert settings.warnings == (
        f"SQL_CONN_STR (from {path}) is used as DB_CONNECTION_STRING;"
        " write instead: DB_CONNECTION_STRING= with the same value",
    )


@pytest.mark.parametrize(
    ("server", "database", "made"),
    [
        (r"db\HDM", "HDM_Local", r"Server=db\HDM;Database=HDM_Local"),
        ("tcp:db.example.org,1433", "Küche 2", "Server=tcp:db.example.org,1433;Database=Küche 2"),
        ("db", "a;b}c", "Server=db;Database={a;b}}c}"),
    ],
)
def test_its_server_and_database_are_taken(server: str, database: str, made: str, tmp_path: Path) -> None:
    env_file(tmp_path, f"USER_SERVER={server}\nUSER_DATABASE='{database}'\nSQL_CONN_STR=\n")
    settings = load()
    assert settings.db_connection_string is not None
    assert settings.db_connection_string.reveal() == (
        f"Driver={{ODBC Driver 17 for SQL Server}};{made};Trusted_Connection=yes"
    )
    [warning] = settings.warnings
    assert warning.startswith("USER_SERVER and USER_DATABASE (from ")
    assert "DB_CONNECTION_STRING=Driver={ODBC Driver 17 for SQL Server};Server=<USER_SERVER>" in warning
    assert server not in warning or server == "db"


def test_its_settings_may_come_from_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file(tmp_path, "USER_SERVER=db\nUSER_DATABASE=test\n")
    monkeypatch.setenv("USER_DATABASE", "live")
    settings = load()
    assert settings.db_connection_string is not None
    assert "Server=db;Database=live;" in settings.db_connection_string.reveal()
    assert settings.origin("DB_CONNECTION_STRING") == "environment"


@pytest.mark.parametrize("where", ["environment", "env file"])
def test_ours_beats_its(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "" if where == "environment" else "DB_CONNECTION_STRING=sqlite:///ours.db\n"
    env_file(tmp_path, f"{text}SQL_CONN_STR=sqlite:///its.db\n").chmod(0o600)
    if where == "environment":
        monkeypatch.setenv("DB_CONNECTION_STRING", "sqlite:///ours.db")
    settings = load()
    assert settings.db_connection_string is not None
    assert settings.db_connection_string.reveal() == "sqlite:///ours.db"
    assert settings.warnings == ()


@pytest.mark.skipif(sys.platform == "win32", reason="rights are of the folder there")
def test_its_connection_string_is_a_secret_too(tmp_path: Path) -> None:
    path = env_file(tmp_path, f"SQL_CONN_STR={ODBC}\n")
    path.chmod(0o644)
    assert [warning for warning in load().warnings if warning.startswith("every account of this machine")]


def test_a_server_without_a_database_says_nothing(tmp_path: Path) -> None:
    env_file(tmp_path, "USER_SERVER=db\n")
    assert load().db_connection_string is None


def test_a_file_as_windows_writes_it(tmp_path: Path) -> None:
    env_file(tmp_path, "\ufeff# Schlüssel\r\nLA_CODE = 845 # the county\r\nCLIENT_ID='ä b'\r\nSCOPE=\"x/.default\"\r\n")
    settings = load()
    assert (settings.la_code, settings.client_id, settings.scope) == ("845", "ä b", "x/.default")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("CLIENT_ID=ä\n".encode("cp1252"))
    with pytest.raises(SettingUnusable, match="not UTF-8"):
        load()


@pytest.mark.parametrize("line", ["just words", "CLIENT_SECRET: hush", "=hush"])
def test_a_line_that_is_no_setting_is_named_by_its_number_only(line: str, tmp_path: Path) -> None:
    env_file(tmp_path, f"\n\nLA_CODE=845\n\n{line}\n")
    with pytest.raises(SettingUnusable, match=r"^line 5 of .* is not KEY=value$"):
        load()


def test_a_backslash_that_double_quotes_would_eat_is_an_error(tmp_path: Path) -> None:
    env_file(tmp_path, 'DATA_DIR="C:\\new"\n')
    with pytest.raises(SettingUnusable, match="DATA_DIR on line 1") as caught:
        load()
    assert "single quotes" in caught.value.hint


def test_a_misspelt_key_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    env_file(tmp_path, "CLIENT_SECRTE=hush\n")
    with pytest.raises(SettingUnusable, match="CLIENT_SECRTE") as caught:
        load()
    assert caught.value.hint == "did you mean CLIENT_SECRET?"
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("key", ["FAVOURITE_COLOUR", "CLIENT_SECRET_OLD", "OLD_CLIENT_SECRET"])
def test_an_unknown_key_is_a_warning(key: str, tmp_path: Path) -> None:
    env_file(tmp_path, f"{key}=hush\n")
    warning = " ".join(load().warnings)
    assert key in warning
    assert "hush" not in warning


def test_variables_of_command_options_are_known(tmp_path: Path) -> None:
    env_file(tmp_path, "DATAFLOWS_GO_FAST=yes\n")
    assert load(options=["DATAFLOWS_GO_FAST"]).warnings == ()


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingUnusable, match="does not exist"):
        load(tmp_path / "absent.env")


def test_a_named_file_is_the_only_one_read(tmp_path: Path) -> None:
    env_file(tmp_path, "LA_CODE=845\n")
    named = env_file(tmp_path / "other", "BATCH_SIZE=7\n", "my.env")
    settings = load(named)
    assert (settings.la_code, settings.batch_size, settings.env_file) == (None, 7, named)


def test_without_a_file_in_the_working_folder_the_one_beside_the_exe_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file(tmp_path / "program", "LA_CODE=845\n")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "program" / "dataflows.exe"))
    assert load().la_code == "845"


@pytest.mark.parametrize(
    ("folder", "inside"),
    [("C:\\Windows\\System32", True), ("c:\\WINDOWS", True), ("C:\\Windows.old", False), ("D:\\csc", False)],
)
def test_folders_that_belong_to_windows(folder: str, inside: bool) -> None:
    assert envfile.is_inside(folder, "C:\\Windows") is inside


def test_a_relative_data_dir_is_taken_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = env_file(tmp_path / "csc", "DATA_DIR=data\n")
    assert load(named).data_dir == tmp_path / "csc" / "data"
    monkeypatch.setenv("DATA_DIR", "elsewhere")
    assert load(named).data_dir == tmp_path / "csc" / "elsewhere"


def test_a_relative_data_dir_beside_an_exe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "program" / "dataflows.exe"))
    monkeypatch.setenv("DATA_DIR", "data")
    assert load().data_dir == tmp_path / "program" / "data"


def test_the_flag_for_the_data_dir_is_taken_from_the_working_folder(tmp_path: Path) -> None:
    settings = load(env_file(tmp_path / "csc", "DATA_DIR=data\n"), Path("here"))
    assert settings.data_dir == tmp_path / "here"
    assert settings.origin("DATA_DIR") == "flag"


def test_the_data_dir_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("PROGRAMDATA", os.path.join("D:", "Common"))  # noqa: PTH118
    assert load().data_dir == Path("D:") / "Common" / "dataflows"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("BATCH_SIZE", "101", "a whole number from 1 to 100"),
        ("BATCH_SIZE", "many", "a whole number from 1 to 100"),
        ("CSC_RESET", "all", "one of object, child, never"),
        ("USE_PARTIAL_PAYLOAD", "perhaps", "true or false"),
        ("CSC_MAX_DELETE_PERCENT", "nan", "a number from 0 to 100"),
        ("LA_CODE", "84", "3 digits"),
        ("LA_CODE", "٣٤٥", "3 digits"),
        ("TABLE_NAME", "dbo.staging; x", "a table name"),
        ("API_ENDPOINT", "http://api.example.org", "an address with https://"),
        ("TOKEN_ENDPOINT", "login.example.org/token", "an address with https://"),
        ("TOKEN_ENDPOINT", "https://me:hush@login.example.org/token", "an address with https://"),
    ],
)
def test_a_bad_value_names_setting_rule_and_origin_but_no_value(
    name: str, value: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingUnusable) as caught:
        load()
    message = caught.value.message
    assert message.startswith(f"{name} (from the environment) must be {rule}")
    assert value not in message
    assert caught.value.__context__ is None  # pydantic's own error shows the value


def test_all_bad_values_are_named_at_once(tmp_path: Path) -> None:
    path = env_file(tmp_path, "BATCH_SIZE=0\nLA_CODE=x\n")
    with pytest.raises(SettingUnusable) as caught:
        load()
    assert f"BATCH_SIZE (from {path})" in caught.value.message
    assert f"LA_CODE (from {path})" in caught.value.message


def test_http_is_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_ENDPOINT", "http://127.0.0.1:8080")
    assert load().api_endpoint == "http://127.0.0.1:8080"


def test_words_are_taken_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "WARNING")
    monkeypatch.setenv("USE_PARTIAL_PAYLOAD", "False")
    settings = load()
    assert (settings.log_level, settings.use_partial_payload) == ("warning", False)


def test_debug_means_log_level_debug(tmp_path: Path) -> None:
    path = env_file(tmp_path, "DEBUG=true\nLOG_LEVEL=info\n")
    assert load(path).log_level == "debug"
    assert load(path, overrides={"log_level": "error"}).log_level == "error"


def test_require_names_everything_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_ID", "x")
    with pytest.raises(SettingUnusable, match="SCOPE and SUPPLIER_KEY are not set"):
        load().require("CLIENT_ID", "SCOPE", "SUPPLIER_KEY")


def test_secrets_hide_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", "hush")
    settings = load()
    assert settings.client_secret == Secret("hush")
    for shown in (repr(settings), str(settings.client_secret), f"{settings.client_secret!r}"):
        assert "hush" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(settings)


def test_every_setting_says_what_it_means() -> None:
    names = {field for field in Settings.__dataclass_fields__ if field not in ("env_file", "warnings", "origins")}
    names -= {field for field, _ in families()}
    assert {spec.name.lower() for spec in table()} == names
    assert all(spec.meaning and spec.rule and spec.flow for spec in table())


# --- families -------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("CQC_URL_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_sources")
def test_a_family_gathers_what_begins_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "CQC_URL_HOMECARE=https://example.org/a\ncqc_url_other_one=https://example.org/b\nCQC_URL_EMPTY=\n"
    env_file(tmp_path, file)
    monkeypatch.setenv("CQC_URL_HOMECARE", " https://example.org/c ")
    settings = load()
    assert dict(settings.cqc_urls) == {"homecare": "https://example.org/c", "other_one": "https://example.org/b"}
    assert settings.warnings == ()


def test_values_by_name_become_fields() -> None:
    given = {"CQC_URL_A": "https://example.org/a", "CQC_URL_B": "b", "CLIENT_SECRET": "hush", "BATCH_SIZE": 7}
    found = fields_of(given)
    urls = {"a": "https://example.org/a", "b": "b"}
    assert found == {"cqc_urls": urls, "client_secret": Secret("hush"), "batch_size": 7}
    assert Settings(**found).cqc_urls == urls


def test_a_family_of_secrets_hides_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTHCHECK_URL_PATIENT_IMPORT", "https://hc.example.org/canary")
    settings = load()

    assert settings.healthcheck_urls["patient_import"].reveal() == "https://hc.example.org/canary"
    assert fields_of({"HEALTHCHECK_URL_PATIENT_IMPORT": "x"}) == {"healthcheck_urls": {"patient_import": Secret("x")}}
    assert "canary" not in repr(settings)


def test_a_health_check_of_no_command_is_an_unknown_key(tmp_path: Path) -> None:
    env_file(tmp_path, "HEALTHCHECK_URL_PATIENTS=https://hc.example.org/x\n")

    assert "HEALTHCHECK_URL_PATIENTS" in load().warnings[0]


@pytest.mark.usefixtures("no_sources")
def test_a_family_is_empty_by_default() -> None:
    assert dict(load().cqc_urls) == {}


@pytest.mark.usefixtures("no_sources")
@pytest.mark.parametrize("value", ["http://example.org/a", "example.org", "https://me:hush@example.org/"])
def test_an_entry_of_a_family_is_checked_like_any_setting(tmp_path: Path, value: str) -> None:
    env_file(tmp_path, f"CQC_URL_NEW={value}\n")
    with pytest.raises(SettingUnusable, match=r"^CQC_URL_NEW \(from .*\) must be an address with https://") as caught:
        load()
    assert value not in str(caught.value) + caught.value.hint


@pytest.mark.usefixtures("no_sources")
@pytest.mark.parametrize("key", ["CQC_URL_", "CQC_URL__X", "CQC_URL_A-B"])
def test_a_name_that_no_entry_can_have_is_unknown(tmp_path: Path, key: str) -> None:
    env_file(tmp_path, f"{key}=https://example.org/a\n")
    with suppress(SettingUnusable):
        assert key in " ".join(load().warnings)


# --- blanks, and who may read the file ----------------------------------------------------------------------------

BLANKS = [" ", "\t", " \r\n ", "\xa0", "\u2003"]


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
def test_a_setting_of_blanks_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    env_file(tmp_path, "".join(f"{spec.name}='{blank if blank.isprintable() else ' '}'\n" for spec in table()))
    for spec in table():
        monkeypatch.setenv(spec.name, blank)
    monkeypatch.setenv("CQC_URL_DIRECTORY", blank)
    settings = load(overrides={"run_token": blank, "data_dir": str(tmp_path), "app_host": blank})
    assert {spec.name: getattr(settings, spec.name.lower()) for spec in table() if spec.name != "DATA_DIR"} == {
        spec.name: spec.default for spec in table() if spec.name != "DATA_DIR"
    }
    assert settings.cqc_urls == {}
    assert set(settings.origins.values()) == {"default", "flag"}


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
def test_blanks_in_the_environment_do_not_beat_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank: str
) -> None:
    url = "https://example.org/x.csv"
    env_file(tmp_path, f"RUN_TOKEN=good-enough-for-a-test\nBATCH_SIZE=7\nDEBUG=true\nCQC_URL_DIRECTORY={url}\n")
    for name in ("RUN_TOKEN", "BATCH_SIZE", "DEBUG", "CQC_URL_DIRECTORY"):
        monkeypatch.setenv(name, blank)
    settings = load()
    assert settings.run_token == Secret("good-enough-for-a-test")
    assert (settings.batch_size, settings.debug, settings.cqc_urls) == (7, True, {"directory": url})
    assert settings.origin("RUN_TOKEN") == "env file"


@pytest.mark.skipif(sys.platform == "win32", reason="a file has the rights of its folder there")
@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("CLIENT_SECRET=x", 0o644, "can read the secrets in"),
        ("healthcheck_url_cqc_fetch=https://example.org/x", 0o604, "can read the secrets in"),
        ("DB_CONNECTION_STRING=sqlite:///x.db", 0o666, "can read the secrets in"),
        ("API_ENDPOINT=https://example.org", 0o602, "can change"),
        ("API_ENDPOINT=https://example.org", 0o644, ""),
        ("CLIENT_SECRET=x", 0o640, ""),
        ("CLIENT_SECRET=x", 0o600, ""),
    ],
)
def test_an_env_file_that_is_open_to_all_is_told(tmp_path: Path, text: str, mode: int, told: str) -> None:
    path = env_file(tmp_path / "with blanks", text)
    path.chmod(mode)
    warnings = load(path).warnings
    assert len(warnings) == bool(told)
    assert all(told in one and one.endswith(f": chmod 600 '{path}'") for one in warnings)
