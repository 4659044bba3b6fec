"""Videos and cameras in, videos in a painting's style out.

All but `containers`, which says what videos are written, need PyAV, which `nstc[video]` brings.
"""
