"""The weekly cron job on Render: has the web service fetch the CQC exports, and waits for the end.

Needs SERVICE_ADDRESS (host:port of the service in the private network) and RUN_TOKEN. Prints the service's answer; ends
with 0 when every file was fetched, else with 1, so that Render marks the job as failed.
"""

import http.client
import json
import os
import sys
import time
from typing import Any

WAIT = 25  # seconds that the service may take for one answer
PATIENCE = 3 * 3600  # seconds until the job gives up; the fetch itself ends after its own deadlines


def main() -> int:
    """Start the fetch, follow it, and judge its answer."""
    try:
        address, token = os.environ["SERVICE_ADDRESS"], os.environ["RUN_TOKEN"]
    except KeyError as missing:
        sys.stderr.write(f"{missing} is not set\n")
        return 1
    try:
        status, answer = followed(address, token)
    except (OSError, http.client.HTTPException, ValueError) as error:
        sys.stderr.write(f"the service at {address} gave no answer: {error}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return int(not (status == 200 and answer.get("status") == "ok"))


def followed(address: str, token: str) -> tuple[int, dict[str, Any]]:
    """Status and document of the end, asked for again while it goes on (202)."""
    status, answer = call(address, token, "POST", f"/run?wait={WAIT}")
    end = time.monotonic() + PATIENCE
    while status == 202 and time.monotonic() < end:
        time.sleep(5)
        status, answer = call(address, token, "GET", answer["status_url"])
    return status, answer


def call(address: str, token: str, method: str, path: str) -> tuple[int, dict[str, Any]]:
    """One request."""
    connection = http.client.HTTPConnection(address, timeout=WAIT + 35)
    try:
        connection.request(method, path, headers={"X-Auth-Token": token})
        answer = connection.getresponse()
        return answer.status, dict(json.loads(answer.read()))
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
