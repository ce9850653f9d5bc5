"""What a completion is worth: small functions of text, and their weighted sum."""
