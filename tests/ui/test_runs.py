"""What a person sees of the nightly extract in Airflow's UI."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from demo.processes import wait_until

pytestmark = pytest.mark.xdist_group("browser")

DAG_ID = "journey_nightly_aggregates"
# Painted, a colour is red, green and blue, in whatever notation the style sheet gives it.
COLOURS = """link => [...link.querySelectorAll('*')].map(part => {
  const canvas = document.createElement('canvas').getContext('2d');
  canvas.fillStyle = getComputedStyle(part).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
})"""


def test_a_night_is_green_in_the_grid(page, platform):
    platform.unpause(DAG_ID)
    (run,) = platform.ended_runs(DAG_ID, 1)
    page.goto(f"/dags/{DAG_ID}")
    task = page.locator(f"a[href$='/runs/{run['dag_run_id']}/tasks/extract']").first
    expect(task).to_be_visible()

    def is_green() -> bool:
        return any(green > 2 * max(red, blue) for red, green, blue in task.evaluate(COLOURS))

    wait_until(is_green, "the night to be green", deadline_s=20)
    expect(page.get_by_role("link", name=re.compile("success")).first).to_be_visible()
