"""Instructions that are no contraction: their addends placed one by one, plans made of several, and running these."""
