"""The memory of the house: every table, every question and every change, PostgreSQL only."""
