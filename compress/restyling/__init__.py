"""Students of paintings: a small network trained on a painting alone, without a teacher.

The verb, and what it starts from. Stages and losses are `distillation`'s.
"""
