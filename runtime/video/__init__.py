"""Videos and cameras in, videos in a painting's style out.

    source            what a video is: its source, rotation and colours, what it consists of
    frame_reader      opens a source and gives its frames upright, with its sound as packets
    joins             one time line for recordings that were joined end to end
    containers        which videos are written
    frame_writer      encodes frames, copies packets of sound
    stylizing         runs reading, stylising and writing at once; less flicker

All but `containers` need PyAV, which `nstc[video]` brings.
"""
