"""`make bench-gate`: fails when a change makes the path of a Run slower, dearer, or chattier than the committed baseline allows.

It compares ratios within one run, kruntimes against the floor probe on the same real kube-apiserver, Run by Run in turn. What it
can see and what it cannot is in docs/performance.md; that it sees 5 ms in any step, and nothing in unchanged code, is shown by
`make bench-gate-proof`.
"""
