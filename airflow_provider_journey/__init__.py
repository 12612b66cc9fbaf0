"""Apache Airflow provider for the Genesys Cloud Journey API."""

__version__ = "0.1.0"
