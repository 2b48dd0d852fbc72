"""Performs what the core decides: tasks, timers, files, the session with the Runtime Server, status writes."""
