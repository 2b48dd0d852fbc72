"""Artifacts of Runs: what user code leaves in its staging directory, kept in a store beyond the Pod (interface.md 6.7, 8.1).

`staging` reads what is there, by file descriptors; `filesystem` and `s3` keep it; `uploading` takes one Run's from one to the
other; `service` hands them out. Nothing here knows the life cycle of a Run: `runtimed.core` decides when.
"""
