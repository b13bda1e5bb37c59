"""The tokens that every vocabulary of the two texts begins with."""

PAD, END, UNKNOWN, FIRST = 0, 1, 2, 3
"""No token; the end and, as input, the beginning; an unknown word; the first of the vocabulary's own."""
