"""Teachers: a network trained on a painting and photographs.

The verb and its objective; the loop is `learning`'s, the losses are `nstc.models`'.
"""
