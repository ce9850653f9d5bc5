"""The live view of a run: its folder, here or at a URL, read again and again while it grows."""
