"""Machines reached by ssh and adb: the job they are sent and the answer they give."""
