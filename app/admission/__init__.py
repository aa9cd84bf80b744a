"""Admission control: how much may wait, whose window is next, and how long that takes."""
