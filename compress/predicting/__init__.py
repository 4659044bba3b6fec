"""Students of any painting: a trunk whose style is predicted from a picture of the painting."""
