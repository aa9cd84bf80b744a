"""HEAD, which load balancers and curl -I ask by, and which FastAPI does not take for GET."""

from copy import copy

from fastapi import FastAPI
from fastapi.routing import APIRoute


def allow(app: FastAPI) -> None:
    """Answer HEAD wherever GET is answered; the server leaves bodies out. A route that had both
    methods would be described twice."""
    for route in list(app.routes):
        if isinstance(route, APIRoute) and "GET" in route.methods:
            twin = copy(route)
            twin.methods, twin.include_in_schema = {"HEAD"}, False
            app.router.routes.append(twin)
