"""A recording's way to its text: one session a request."""
