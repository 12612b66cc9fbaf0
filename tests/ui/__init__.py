"""A package, so that browser and Airflow end with its last test: a running browser leaves no event loop to others."""
