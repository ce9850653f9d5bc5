"""Questions and sounds: reading, checking, rendering, making."""
