"""How the store comes to the schema of this build."""
