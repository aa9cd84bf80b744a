"""What `marlinscribe` does on the command line."""
