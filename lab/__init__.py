"""What only experiments, make targets and releases use: nothing here is in the wheel.

Each module with a `main` runs from the checkout as `python -m lab.NAME`; `plans` holds what the
explorations compare. It may import all of `nstc`, and nothing of `nstc` imports it.
"""
