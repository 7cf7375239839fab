"""The suite on CPUs that are not here: executed in an emulator, their cycles estimated."""
