"""Who may see what: from a bearer token to an identity, and from an identity to a scope."""
