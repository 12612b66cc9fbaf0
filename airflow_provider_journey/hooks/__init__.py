"""Airflow hooks: an Airflow connection, and the operations as methods."""

# The connection that is used unless one is named. Here, where it costs a DAG file nothing to import it.
DEFAULT_CONN_ID = "journey_default"
