"""Benchmarks: latency compared with a reference, and quality compared with the teacher."""
