"""Every query, index and write to MongoDB; nothing else in the house speaks to the database."""
