"""SQL expressions that are indexed, written as PostgreSQL prints them, so that Alembic sees no difference."""

from __future__ import annotations

GLOBAL_UID = "((cluster || ':'::text) || uid)"
COMPOSITION_OR_LAST = "COALESCE(composition_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)"
COMPOSITION_OR_FIRST = "COALESCE(composition_id, '00000000-0000-0000-0000-000000000000'::uuid)"
TERMS = "resource_terms(type_id, namespace, name, labels)"
"""The terms of an object, by which it is found among those of its type: hashes of its namespace, of its labels, and of
the trigrams of its name."""
