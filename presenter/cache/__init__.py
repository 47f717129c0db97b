"""The PostgreSQL edge: the schema, every write and every read. The only importer of asyncpg and sqlalchemy."""
