"""Requests that the service makes to addresses that a client names: webhooks, and recordings that
are fetched. They leave for the outside alone, unless the settings allow the inside too."""
