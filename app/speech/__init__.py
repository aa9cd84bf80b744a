"""Speech: where a recording is cut into windows."""
