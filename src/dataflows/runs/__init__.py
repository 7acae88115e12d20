"""Runs and what is known of them: the journal, the lock, the pool and the runner around every job."""
