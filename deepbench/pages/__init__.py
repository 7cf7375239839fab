"""What pages of several rooms are made of: pictures with axes, and the heat map."""
