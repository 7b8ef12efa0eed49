"""What is done with a part of a catalogue, on whichever machine it lies: tables in, tables out."""
