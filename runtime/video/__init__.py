"""Films and cameras in, films in a painting's style out.

    opening, reading     open a source and give its frames upright, with its sound as packets
    stabilizing          holds still what stands still in the source
    writing, sound       encode frames, copy packets
    channel, pipeline    run the three at once, with little in between
    stylizing            puts them together

All but `containers`, `channel`, `pipeline` and `stabilizing` need PyAV, which `nstc[video]` brings.
"""
