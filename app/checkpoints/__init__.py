"""Where checkpoints come from, how they are made, and where they are kept."""
