"""Tools of the repository that no part of the service needs."""
