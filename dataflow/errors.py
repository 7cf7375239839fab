"""What a user may see go wrong: one line with the place and the remedy, and a fixed exit code."""


class UserError(Exception):
    """Bad input. The message is one clear line; the command line prints it and exits with `exit_code`."""

    exit_code = 2
