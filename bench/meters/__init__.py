"""What a pass costs beside time: CPU, memory and API writes, read before and after it and never during it."""
