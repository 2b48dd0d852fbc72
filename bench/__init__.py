"""How long a Run takes from create to its first instruction and to its end, seen by one client with one clock."""
