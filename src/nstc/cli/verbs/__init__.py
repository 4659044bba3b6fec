"""The verbs of the command line: one file each, which calls the library and prints.

Enters a verb's flags and its words for the terminal; what it does is the library's.
"""
