"""What the shell does for a Run, one concern a file."""
