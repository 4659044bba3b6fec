"""What the proof of the gate is made of: faults, load on the machine, and a ledger of verdicts."""
