"""The report of a finished job: the measured front as a figure, a page and a table for the terminal."""
