"""Segment sync: audience, plan, journal, commit, and the ledger between the runs."""
