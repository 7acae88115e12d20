"""The HEALTHCHECK of the image: 0 when `dataflows serve` answers on /health, else 1 and the reason."""

import http.client
import os
import sys

PORT = int(os.environ.get("APP_PORT") or os.environ.get("PORT") or 8000)  # in the order of `serve`


def main() -> int:
    """Ask once."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=4)
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"no answer on port {PORT}: {error}\n")
        return 1
    finally:
        connection.close()
    if status != 200:
        sys.stderr.write(f"/health answers {status}\n")
    return int(status != 200)


if __name__ == "__main__":
    sys.exit(main())
