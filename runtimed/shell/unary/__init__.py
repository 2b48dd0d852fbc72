"""Runtime Servers that offer `executor.v1.Runtime` and no stream: custom ones, and old ones.

`session` looks to the rest of runtimed like the stream does, so that core and actors know one protocol only. `execution` is the
life of one id there, `calls` the RPCs with their deadlines, `answers` what an answer means.
"""
