"""The duties of a catalogue, tried one by one on a facility's own: what `datauploader catalogue check` runs."""
