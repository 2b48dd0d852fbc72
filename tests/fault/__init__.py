"""The fault suite: one test a row of docs/reliability.md, on real processes that are killed for real, judged by a recorder."""
