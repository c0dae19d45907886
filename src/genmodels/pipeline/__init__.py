"""The pipeline turns the library into the report: runs, notebooks, the study, documents. The library never imports it."""
