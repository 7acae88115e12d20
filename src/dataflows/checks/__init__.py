"""``test-db``, ``test-endpoint``, ``test-schema``: named checks; all run, each passes or says what to do.

What depends on a check that failed is reported as skipped. Nothing is changed anywhere, and no record is sent.
"""

from dataflows.checks.bucket import check_bucket
from dataflows.checks.check import Check
from dataflows.checks.database import check_database, check_schema
from dataflows.checks.endpoint import check_endpoint

__all__ = ["Check", "check_bucket", "check_database", "check_endpoint", "check_schema"]
