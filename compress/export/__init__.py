"""Files that run elsewhere: ONNX, ORT format, TorchScript, ExecuTorch, a board's folder.

Enters one module a format, what lists a bundle's files, and what checks a file that was made.
"""
