"""The process that forks: it starts each attempt under a keeper of its own and ends whole process trees.

Standard library only, one thread, never grpc: fork cost grows with memory, and grpc and fork do not mix. What an attempt
runs, and who wants to know, is `servers.sdk`'s business.
"""
