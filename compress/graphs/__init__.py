"""ONNX surgery: a network's graph in the forms that other rooms need.

Enters what reads or rewrites an ONNX graph and knows nothing of bundles, recipes or the command
line.
"""
