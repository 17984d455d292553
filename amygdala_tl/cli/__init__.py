"""The command line: arguments become settings, one verb runs, and its result is printed."""

__all__: list[str] = []
