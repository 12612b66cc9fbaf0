"""Airflow hooks: an Airflow connection, and the operations as methods."""
