"""What our objects mean: typed views, phases and reasons, transitions, names, durations, quantities, validation. Pure."""
