"""The one exception that is meant for the user."""


class UserError(Exception):
    """Something the user can put right: one sentence that names the thing at fault and the way out.

    The command line prints it without a traceback and ends with status 2.
    """
