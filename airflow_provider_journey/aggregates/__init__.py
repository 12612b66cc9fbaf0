"""Journey aggregates: a query, its windows, the rows of its answers, and where they are kept."""
