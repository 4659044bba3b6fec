"""The verbs of the command line: a file each, in a folder for each section of the help.

A file has a verb's flags and its words for the terminal; what the verb does is the library's.
"""
