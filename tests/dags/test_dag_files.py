"""The example DAGs need Airflow, the provider and Python, and nothing else."""

from __future__ import annotations

import ast
import sys

import pytest

from demo.processes import ROOT

FILES = sorted((ROOT / "dags").glob("*.py"))
ALLOWED = {*sys.stdlib_module_names, "airflow", "airflow_provider_journey", "pendulum"}


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_imports_only_airflow_and_the_provider(file):
    names = imported(ast.parse(file.read_text()))
    assert {name.partition(".")[0] for name in names} <= ALLOWED
    assert not [name for name in names if name.startswith("airflow.providers")]


@pytest.mark.xdist_group("scheduler")
def test_every_file_is_a_dag_which_airflow_reads_without_errors(platform):
    for file in FILES:
        platform.airflow.wait_for_dag(file.stem)
