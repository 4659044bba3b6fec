"""Instructions of ONNX files, counted by Valgrind's callgrind."""
