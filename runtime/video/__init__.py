"""Films and cameras in, films in a painting's style out.

    film              what a film is: its source, its turning and colours, what it consists of
    frame_reader      opens a source and gives its frames upright, with its sound as packets
    joins             one time line for recordings that were joined end to end
    containers        which films are written
    frame_writer      encodes frames, copies packets of sound
    frame_pipeline    runs reading, painting and writing at once, with little in between
    stylizing         puts them together, and holds still what stands still in the source

All but `containers` and `frame_pipeline` need PyAV, which `nstc[video]` brings.
"""
