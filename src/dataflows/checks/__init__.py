"""``test-db``, ``test-endpoint``, ``test-schema``: named checks; all run, each passes or says what to do.

What depends on a check that failed is reported as skipped. Nothing is changed anywhere, and no record is sent.
"""

from dataflows.checks.check import Check
from dataflows.checks.databases import check_schema
from dataflows.checks.services import DATABASES, SERVICES, Target, check_all

__all__ = ["DATABASES", "SERVICES", "Check", "Target", "check_all", "check_schema"]
