"""Children's social care records from the staging table to the DfE CSC API."""
