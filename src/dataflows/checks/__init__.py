"""``test-db``, ``test-endpoint``, ``test-schema``: named checks; all run, each passes or says what to do.

What depends on a check that failed is reported as skipped. Nothing is changed anywhere, and no record is sent.
"""

from dataflows.checks.check import Check
from dataflows.checks.services import DATABASES, SERVICES, Target, check_all
from dataflows.checks.staging import check_schema

__all__ = ["DATABASES", "SERVICES", "Check", "Target", "check_all", "check_schema"]
