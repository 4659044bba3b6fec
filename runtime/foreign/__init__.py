"""Networks that others made: opened within limits, probed by trying, run like nstc's own.

What may enter: reading, probing and running files that did not come with nstc. A process that
tries one loads `graph_child` of this room, NumPy and ONNX Runtime alone.
"""
