"""How figures are taken, summed up, judged and written down; knows nothing of what is measured."""
