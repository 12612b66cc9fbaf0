"""Sensors: tasks that wait until the service says what they wait for."""
