"""CQC: the CSV exports of the Care Quality Commission, as files that others can build on."""
