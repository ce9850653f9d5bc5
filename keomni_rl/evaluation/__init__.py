"""How answers are judged and what can be said of the result."""
