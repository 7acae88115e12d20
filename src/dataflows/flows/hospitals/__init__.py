"""Hospitals: the rows of a CSV, created and activated in the Hospital Directory, each exactly once."""
