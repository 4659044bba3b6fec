"""The gate: models beside a baseline, and the verdict on each figure.

Here live the baseline file, the comparison and what CI systems print. Measuring itself is `bench`.
"""
