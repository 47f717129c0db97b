"""HTTP: what callers send becomes a query, what comes back becomes JSON."""
