"""Reading of protocols."""
