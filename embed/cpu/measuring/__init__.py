"""What a kernel or a core does: counted, estimated, probed, timed."""
