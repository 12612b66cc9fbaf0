"""What Airflow is told about this provider."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's entry for Airflow's registry."""
    return {
        "package-name": "airflow-provider-journey",
        "name": "Genesys Cloud Journey",
        "description": "Journey aggregates and segment assignments of Genesys Cloud.",
    }
