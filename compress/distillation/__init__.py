"""Students: small networks trained on a teacher's pictures.

The verb, its losses, and what is computed of a teacher. The loop is `learning`'s; what simulates
integers is `quantization`'s.
"""
