"""A local Journey API to develop and test DAGs against; it shares no code with the client that it judges."""
