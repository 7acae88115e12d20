"""The practice database: patients and therapists, and what is known of the files that they came in.

PostgreSQL in production, SQLite as the embedded default; the program makes and migrates it (``migrate``).
"""
