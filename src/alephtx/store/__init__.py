"""The store: recorded markets as replay files and as a catalogue, and what they are worth."""
