"""The gate: models beside a baseline, and the verdict on each figure."""
