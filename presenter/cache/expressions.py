"""Expressions that are indexed, for the schema and for those who search by them.

Written as PostgreSQL prints them, so that Alembic sees them unchanged.
"""

from __future__ import annotations

GLOBAL_UID = "((cluster || ':'::text) || uid)"
COMPOSITION_OR_LAST = "COALESCE(composition_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)"
COMPOSITION_OR_FIRST = "COALESCE(composition_id, '00000000-0000-0000-0000-000000000000'::uuid)"
TERMS = "resource_terms(type_id, namespace, name, labels)"
"""What an object is found by among those of its type: hashes of its namespace, its labels and all threes of letters of
its name."""
