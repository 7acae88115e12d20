"""The program ``csc_api_pipeline``: the four commands of the CSC API pipeline, carried out by ``dataflows``."""
