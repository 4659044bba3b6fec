"""Films and cameras in, films in a painting's style out.

    opening, reading     open a source and give its frames upright, with its sound as packets
    stabilizing          holds still what stands still in the source
    writing              encodes frames, copies packets of sound
    pipeline             runs the three at once, with little in between
    stylizing            puts them together

All but `containers`, `pipeline` and `stabilizing` need PyAV, which `nstc[video]` brings.
"""
