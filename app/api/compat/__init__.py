"""Routes as other speech servers have them, for their clients: each is an adapter that parses into
the request of app/api/transcriptions.py and renders its transcript in that server's form."""
