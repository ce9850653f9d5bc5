"""Raw downloads to the formats of this system: AVQA, MusicBench, AudioMCQ, MMAU; overlaps found."""
