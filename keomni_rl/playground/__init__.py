"""The playground: a small web page to ask one model, or two side by side, about a sound."""
