"""Rows of the ledger's tables to values."""
