"""How near a student's pictures are to its teacher's."""
