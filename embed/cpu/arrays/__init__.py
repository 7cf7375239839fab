"""From the user's arrays to what a kernel reads: in place, inside a border, packed; and back."""
