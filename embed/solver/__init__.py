"""The only folder that talks to CP-SAT: the model of one placement problem, its constraints, objectives and search."""
