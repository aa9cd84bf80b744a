"""HTTP: routes that parse a request, call the service and render the answer."""
