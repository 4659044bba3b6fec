"""Integer, half-precision and weight-only files of a network.

Here live the verb, calibration, rounding and what checks an integer file. Surgery on ONNX graphs
that export needs too is `graphs`.
"""
