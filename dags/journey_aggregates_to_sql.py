"""Last night's journey aggregates, in a table of the warehouse.

Every night two extracts write into one table, `journey_aggregates`: which web actions yesterday's visitors
were offered, and which outcomes they achieved. The table is made on the first night; a dimension that is
added to a query becomes a new column. Each extract replaces its own days and its own rows, which carry its
name in the column `extract`, so that a night can be run again at any time:

    SELECT interval_start, "journeyOutcomeId", count
    FROM journey_aggregates WHERE extract = 'outcomes' AND metric = 'nJourneyOutcomesAchieved'

It needs an Airflow connection `journey_default` of the type *Genesys Cloud Journey*, and one called
`warehouse` of an SQL database: PostgreSQL, SQLite, or another with an Airflow hook and a dialect of
SQLAlchemy's.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset

from airflow_provider_journey.aggregates.query import AggregateQuery
from airflow_provider_journey.operators.aggregates import JourneyAggregatesToSqlOperator
from airflow_provider_journey.retries import journey_retries

QUERIES = {
    "actions": AggregateQuery(
        metrics=["nWebActionsOffered", "nWebActionsAccepted"],
        group_by=["journeyActionMapId"],
        granularity="PT1H",
        time_zone="UTC",
    ),
    "outcomes": AggregateQuery(
        metrics=["nJourneyOutcomesAchieved", "oJourneyOutcomeValue"],
        group_by=["journeyOutcomeId"],
        granularity="PT1H",
        time_zone="UTC",
    ),
}

with DAG(
    dag_id="journey_aggregates_to_sql",
    description="Last night's journey aggregates, in a table of the warehouse",
    doc_md=__doc__,
    schedule="0 2 * * *",
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=journey_retries(4, retry_delay=timedelta(minutes=2)),
    tags=["genesys-cloud", "journey"],
) as dag:
    for name, query in QUERIES.items():
        JourneyAggregatesToSqlOperator(
            task_id=name,
            query=query,
            conn_id="warehouse",
            table="journey_aggregates",
            extract=name,
            # Genesys Cloud corrects its numbers for some days: the three days before are replaced as well.
            lookback=3,
            outlets=[Asset(f"journey_table_{name}")],
        )
