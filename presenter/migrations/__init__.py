"""Alembic migrations; they ship inside the package so that `presenter migrate` works wherever it is installed."""
