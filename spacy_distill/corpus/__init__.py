"""From curated docs to what `spacy train` reads: a split, two DocBins, the labels, and a manifest."""
