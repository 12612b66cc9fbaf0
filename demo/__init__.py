"""What runs the demo: an environment, an Airflow of its own, the emulator, and the seven nights."""
