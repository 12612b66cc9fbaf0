"""What makes a hook one of an Airflow connection of type ``journey``."""

from __future__ import annotations

from airflow.sdk import BaseHook

from airflow_provider_journey.hooks import DEFAULT_CONN_ID


class ConnectionHook(BaseHook):
    """A hook of such a connection, under the names by which Airflow asks for them.

    :param journey_conn_id: id of the Airflow connection.
    """

    conn_name_attr = "journey_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = "journey"
    hook_name = "Genesys Cloud Journey"

    def __init__(self, journey_conn_id: str) -> None:
        super().__init__()
        self.journey_conn_id = journey_conn_id
