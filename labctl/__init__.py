"""labctl: the command line and the Python clients of labd."""
