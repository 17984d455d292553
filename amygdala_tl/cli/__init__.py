"""The command line: arguments to pipeline to report; no mathematics."""
