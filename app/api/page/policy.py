"""Content security policies: what a page of ours may load, run and send.

Directives: https://www.w3.org/TR/CSP3/.
"""

_NOTHING_ELSE = {
    "default-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


def _policy(**directives: str) -> str:
    named = {name.replace("_", "-"): value for name, value in directives.items()}
    return "; ".join(f"{name} {value}" for name, value in (_NOTHING_ELSE | named).items())


# Its own scripts and styles, its own server, and the recording, which never leaves the browser
# but to this server. Neither inline scripts nor inline styles.
PAGE = _policy(
    script_src="'self'",
    style_src="'self'",
    img_src="'self'",
    media_src="blob:",
    connect_src="'self'",
)
# Swagger UI and Redoc write styles of their own into the page; scripts are ours alone all the same.
DOCS = _policy(
    script_src="'self'",
    style_src="'self' 'unsafe-inline'",
    img_src="'self' data:",
    connect_src="'self'",
)
# A file that is opened by itself does nothing.
ASSET = _policy(style_src="'unsafe-inline'") + "; sandbox"


def headers(policy: str) -> dict[str, str]:
    """Return the headers of a page or a file. Browsers keep it, and ask each time whether it is
    still so: after an upgrade nobody runs half of an older page."""
    return {
        "content-security-policy": policy,
        "cache-control": "no-cache",
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    }
