"""``serve`` as it was installed: its routes, its pages, and what they load."""

from __future__ import annotations

import re

import urllib3

from tests.processes import PATIENCE, Process
from tests.smoke.program import Installed

CSV = "name,address,phone\n" + "".join(
    f"Synthetic Hospital {number},{number} Example Road,020 7946 0{number:03}\n" for number in range(3)
)


def address_of(process: Process) -> str:
    """Wait until the server says where it listens."""
    while line := process.line():
        if found := re.search(r"serving on (http://\S+),", line):
            return found[1]
    raise AssertionError("the server did not start")


def test_serve(pointed: Installed) -> None:
    http = urllib3.PoolManager(retries=False, timeout=PATIENCE)
    with pointed.start(
        "serve", "--port", "0", HOSPITALS_CREATES_PER_MINUTE="0", HOSPITALS_LOOK_EVERY_SECONDS="0.05"
    ) as process:
        address = address_of(process)
        assert http.request("GET", f"{address}/health").json() == {"ok": True}
        upload = http.request("POST", f"{address}/hospitals/bulk", fields={"file": ("Größe.csv", CSV)})
        assert (upload.status, upload.json()["batch_activated"]) == (200, True)
        page = http.request("GET", f"{address}/runs")
        assert "hospitals-bulk" in page.data.decode("utf-8")
        documentation = http.request("GET", f"{address}/docs").data.decode("utf-8")
        for asset in re.findall(r'"(/documentation/[\w.-]+)"', documentation):
            assert http.request("GET", address + asset).status == 200, asset
        assert "hospitals/bulk" in http.request("GET", f"{address}/openapi.json").data.decode("utf-8")
