"""The Genesys Cloud Journey API: what can be asked, and what an answer means. Knows nothing of Airflow."""
