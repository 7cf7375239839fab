"""From the loop nest to a register machine's program: tile loops, sums inside a tile, regions of the output."""
