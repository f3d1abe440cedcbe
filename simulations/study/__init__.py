"""How useful the federation's model is, beside what it competes with: words, partners alone, everybody unprotected."""
