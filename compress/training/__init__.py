"""Teachers: a network trained on a painting and photographs.

Here live the verb and its objective; the loop is `learning`'s, the losses are `nstc.models`'.
"""
