"""Which embedding, layouts and schedule: placements, register tiles, and the model of a core that ranks them."""
