"""The search for the best student within a budget: many short compressions, most of them stopped.

What is tried, how it is judged, and what comes of it. The steps themselves are the pipeline's.
"""
