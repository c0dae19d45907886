"""The pipeline turns the library into the report; the library never imports it."""
