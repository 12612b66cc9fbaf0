"""What Airflow is told about this provider: one table, read by every Airflow process, importing nothing."""

from __future__ import annotations

from typing import Any

# The connection's extras, in the order of the form; the hook offers the same to Airflow 3.1.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "segments_api": {
        "label": "Segments API",
        "description": "journey: the Journey API's own segment endpoints. externalcontacts: where they moved "
        "to, which is what organisations serve today.",
        "schema": {"type": ["string", "null"], "enum": ["journey", "externalcontacts"], "default": "journey"},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "For a connection, and again for each next part of an answer. Default 60.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 3600},
    },
    "max_retries": {
        "label": "Retries of a request",
        "description": "How often a request is sent again after 408, 429, 502-504 or no answer. Default 5.",
        "schema": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
    },
    "rate_limit_share": {
        "label": "Share of the rate limit",
        "description": "Stop in a window when everybody's calls reach this share of what is allowed. "
        "Default 1.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1},
    },
    "allow_http": {
        "label": "Allow plain http",
        "description": "Also for hosts other than this machine. The client secret then travels unprotected.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "proxy": {
        "label": "Proxy URL",
        "description": "Default: the proxies of the environment.",
        "schema": {"type": ["string", "null"]},
    },
    "verify": {
        "label": "Verify certificates",
        "description": "true, false, or the path of a CA bundle. Default true.",
        "schema": {"type": ["string", "null"]},
    },
}

FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema"],
    "relabeling": {"login": "Client id", "password": "Client secret", "host": "Region, domain or URL"},
    "placeholders": {
        "login": "OAuth client id (client credentials grant)",
        "password": "OAuth client secret",
        "host": "eu-central-1, mypurecloud.de or http://localhost:8765",
        "port": "only with a URL that has none",
    },
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's entry for Airflow's registry (``apache_airflow_provider`` entry point)."""
    return {
        "package-name": "airflow-provider-journey",
        "name": "Genesys Cloud Journey",
        "description": "Extracts journey aggregates of Genesys Cloud and syncs its segment assignments.",
        "integrations": [
            {
                "integration-name": "Genesys Cloud Journey",
                "external-doc-url": "https://developer.genesys.cloud/",
                "tags": ["service"],
            }
        ],
        "hooks": [_modules("hooks.journey")],
        "operators": [_modules("operators.aggregates", "operators.segments", "operators.action_targets")],
        "sensors": [_modules("sensors.segments", "sensors.aggregates")],
        "triggers": [
            _modules("triggers.segments", "triggers.aggregates", "triggers.changes", "triggers.jobs")
        ],
        "connection-types": [
            {
                "connection-type": "journey",
                "hook-class-name": "airflow_provider_journey.hooks.journey.JourneyHook",
                "hook-name": "Genesys Cloud Journey",
                "ui-field-behaviour": FIELD_BEHAVIOUR,
                "conn-fields": CONNECTION_FIELDS,
            }
        ],
    }


def _modules(*names: str) -> dict[str, Any]:
    return {
        "integration-name": "Genesys Cloud Journey",
        "python-modules": [f"airflow_provider_journey.{name}" for name in names],
    }
