"""Triggers: waiting in the triggerer, many at a time in one process, without a worker."""
