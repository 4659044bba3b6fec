"""The gate: models compared with a baseline, and the verdict on each number."""
