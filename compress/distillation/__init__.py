"""Students: a small network taught by a teacher's pictures.

Here live the verb, its objectives, and what a teacher is asked for. The loop is `learning`'s; what
simulates integers while a student learns is `quantization`'s.
"""
