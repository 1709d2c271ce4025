"""How each store comes to the schema of this build: one Alembic history a store."""
