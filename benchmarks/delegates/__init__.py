"""Which operators of a network the accelerators of phones and boards would take."""
