"""What turns the library into the report: trained runs, notebooks, the study, documents. The library never imports it."""
