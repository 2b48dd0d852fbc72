"""The floor probe: a null implementation. Two processes that only answer, so that what they take is what the API server takes.

A Run of it is created as ours are, assigned by one status write, and ended by one more: its `start` output is the moment at which
the bound Run was seen, ready to start. It executes nothing. Same schema, same server, same TLS, filtered watches, etcd with fsync.

Minimal by construction, and kept apart so that neither side burdens the other or hides the other's mistakes:
* its Runs are a kind of their own (`schema`), so no watcher of kruntimes sees them, and kruntimes' Runs are never touched by it;
* it writes the fewest keys that the schema lets it, with no condition and no precondition;
* it does not use `k8s.client` for its traffic (`wire`): a slower client of ours must show as slower than the floor.

Never slow it down: every ratio in docs/performance.md is against it.
"""
