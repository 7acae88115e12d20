"""What odd input is handed to: files, rows, objects, env files, the server, and what far sides answer."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import sqlalchemy as sa
from hypothesis import strategies as st

from dataflows.flows.csc.table import create_table, staging_table
from dataflows.sandbox.synthetic import synthetic_child
from dataflows.settings import table
from dataflows.store.database import connect
from tests.flows.patients.world import name_of, registration
from tests.flows.therapists.world import older_scrape, scrape, therapist
from tests.fuzz.inputs import TOKENS, spoiled, spoiled_json
from tests.fuzz.workshop import Workshop, environment
from tests.web.served import CSV, TOKEN, within

TABLE = "ssd_api_data_staging"
KINDS = ("application/json", "text/csv", "text/html", "application/octet-stream")
LINES = "".join(f"{spec.name}={spec.default if spec.default is not None else 'x'}\n" for spec in table()).encode()


@dataclass(frozen=True)
class Target:
    """One way in."""

    inputs: st.SearchStrategy[Any]
    play: Callable[[Workshop, Any], object]


def csv_file(shop: Workshop, data: bytes) -> None:
    """A file of hospitals, as an operator hands it over."""
    file = shop.folder / "hospitals.csv"
    file.write_bytes(data)
    shop.run("hospitals-bulk", str(file), "--dry-run", "--json")


def children(shop: Workshop, payloads: list[tuple[bytes, str]]) -> None:
    """Rows of the staging table, sent and sent again with what they were before."""
    engine = connect(shop.settings["DB_CONNECTION_STRING"])
    create_table(engine, TABLE)
    rows = [
        {"person_id": f"p{number}", "json_payload": data.decode("utf-8", "replace"), "row_state": state}
        for number, (data, state) in enumerate(payloads)
    ]
    with engine.begin() as connection:
        connection.execute(staging_table(TABLE).insert(), rows)
    shop.run("csc-submit", "--json")
    with engine.begin() as connection:
        texts = [row["json_payload"] for row in rows]
        for number, text in enumerate([*texts[1:], texts[0]], start=1):
            values = {"json_payload": text, "submission_status": "Pending", "row_state": "Updated"}
            connection.execute(staging_table(TABLE).update().where(sa.text("id = :n")).values(**values), {"n": number})
    engine.dispose()
    shop.run("csc-submit", "--json")


def patient(shop: Workshop, given: tuple[bytes, str]) -> None:
    """An object of the bucket."""
    data, name = given
    shop.box.bucket.reset()
    shop.box.bucket.put(name, data)
    shop.run("patient-import", "--json")


def therapists(shop: Workshop, data: bytes) -> None:
    """A file of the scraper."""
    folder = shop.folder / "therapists"
    folder.mkdir(exist_ok=True)
    file = folder / "52074.json"
    file.write_bytes(data)
    os.utime(file, (0, 0))
    shop.run("therapist-import", str(folder), "--json")


def env_file(shop: Workshop, data: bytes) -> None:
    """An env file."""
    file = shop.folder / "odd.env"
    file.write_bytes(data)
    bare = Workshop(shop.folder, shop.box, shop.fake, settings={})
    bare.run("--env-file", str(file), "--data-dir", str(shop.data), "runs", "list", "--json")
    shop.most = max(shop.most, bare.most)


def http_body(shop: Workshop, given: tuple[str, str, bytes, str]) -> None:
    """A request to the server; whatever it is, it is answered and the next one is served."""
    method, path, body, kind = given
    with environment({}), within(shop.folder / "served", shop.box.settings()) as server:
        for _ in range(2):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            headers = {"X-Auth-Token": TOKEN, "Content-Type": kind}
            try:
                connection.putrequest(method, path.replace(" ", "%20"), skip_accept_encoding=True)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                assert connection.getresponse().status not in (500, 501), "a bug"
            finally:
                connection.close()
        assert server.get("/health").status == 200


def far_side(shop: Workshop, given: tuple[str, int, str, bytes, Mapping[str, str]]) -> None:
    """An answer of a far side."""
    command, status, kind, body, headers = given
    lines = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    shop.fake.answer = f"HTTP/1.1 {status} X\r\n{head}\r\n".encode("utf-8", "replace") + body
    url = shop.fake.url
    setting, arguments = FAR_SIDES[command]
    if command.startswith("csc"):
        children_of_one(shop)
    if command == "hospitals":
        file = shop.folder / "hospitals.csv"
        file.write_text(CSV.format("Fuzz"))
        arguments = (*arguments, str(file))
    shop.run(*arguments, "--json", **{name: f"{url}{rest}" for name, rest in setting.items()})


def children_of_one(shop: Workshop) -> None:
    """One child that can be sent."""
    engine = connect(shop.settings["DB_CONNECTION_STRING"])
    create_table(engine, TABLE)
    with engine.begin() as connection:
        connection.execute(staging_table(TABLE).insert(), [{"json_payload": json.dumps({"la_child_id": "SYN1"})}])
    engine.dispose()


FAR_SIDES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "csc token": ({"TOKEN_ENDPOINT": "/t/oauth2/v2.0/token"}, ("csc-submit",)),
    "csc api": ({"API_ENDPOINT": ""}, ("csc-submit",)),
    "cqc": ({"CQC_URL_HOMECARE": "/x.csv"}, ("cqc-fetch", "--source", "homecare")),
    "hospitals": ({"EXTERNAL_API_BASE_URL": "/d"}, ("hospitals-bulk",)),
    "bucket": ({"STORAGE_EMULATOR_HOST": ""}, ("patient-import",)),
}

_child = synthetic_child(Random(1), 1)
_object = {"name": "a.json", "generation": "1", "size": "3", "updated": "2025-01-01T00:00:00Z"}
_bodies: list[Any] = [
    {"access_token": "x", "token_type": "Bearer", "expires_in": 3600},
    {"error": "invalid_client", "error_codes": [7000215]},
    ["3fa85f64-5717-4562-b3fc-2c963f66afa6"],
    {"errors": [{"path": "$[0].la_child_id", "message": "x"}]},
    {"kind": "storage#objects", "items": [_object]},
    [{"id": 1, "name": "x", "address": "y", "phone": None, "creation_batch_id": "z", "active": False}],
]
_visible = st.characters(min_codepoint=33, max_codepoint=126)
_words = ["soon", "-5", "1.5", "gzip", "br", "99999999999", "http://127.0.0.1:1/", "//", "crc32c=x"]
_names = ["Retry-After", "Location", "ETag", "Content-Length", "Content-Encoding", "Content-Range", "X-Goog-Hash"]
_headers = st.dictionaries(
    st.sampled_from(_names), st.one_of(st.sampled_from(_words), st.text(_visible, max_size=20)), max_size=3
)
_csv = (CSV.format("A").encode(), b"Name,Address,CQC Location ID (for office use only),CQC Provider ID\nA,B,1-1,1-2\n")
_registration = registration()
_object_names = [name_of(_registration), "x.json", "a/../b_c_2025-01-01_0b1ab67b.json"]
_places = """/hospitals/bulk /hospitals/validate /batch/upload-csv /runs/enter /runs/leave /runs/x /files/x /metrics
/run/x /hospitals/progress/x /hospitals/resume/x /batch/x/status /openapi.json"""
_paths = st.one_of(st.sampled_from(_places.split()), st.text(_visible, max_size=60).map(lambda text: "/" + text))
_form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.csv"\r\n\r\n' + _csv[0] + b"\r\n--b--\r\n"
_statuses = [200, 201, 202, 204, 206, 301, 302, 304, 307, *range(400, 410), 412, 413, 422, 429, 500, 503]
_states = st.sampled_from(["New", "Updated", "Deleted"])

TARGETS: dict[str, Target] = {
    "csv": Target(spoiled(*_csv, b"name;address\r\nx;y\r\n", b'name,address\n"a\n,b",c\n'), csv_file),
    "children": Target(
        st.lists(st.tuples(spoiled_json(_child, {"la_child_id": "SYN1"}), _states), min_size=1, max_size=5), children
    ),
    "patients": Target(st.tuples(spoiled_json(_registration), st.sampled_from(_object_names)), patient),
    "therapists": Target(spoiled_json(scrape(therapist()), older_scrape(therapist("Erika"))), therapists),
    "env files": Target(spoiled(LINES, *(line + b"\n" for line in LINES.splitlines()), *TOKENS), env_file),
    "http": Target(
        st.tuples(
            st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
            _paths,
            spoiled(_form, b"token=x", b"{}"),
            st.sampled_from(["multipart/form-data; boundary=b", "application/x-www-form-urlencoded", "", *KINDS]),
        ),
        http_body,
    ),
    "far sides": Target(
        st.tuples(
            st.sampled_from(sorted(FAR_SIDES)),
            st.sampled_from(_statuses),
            st.sampled_from(KINDS),
            st.one_of(spoiled_json(*_bodies), spoiled(*_csv)),
            _headers,
        ),
        far_side,
    ),
}
