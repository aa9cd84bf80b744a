"""python -m app: the same as `marlinscribe`."""

from app.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
