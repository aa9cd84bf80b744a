"""Who may come in, whose window is next, and how long that takes."""
