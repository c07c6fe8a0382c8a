"""The terminal: words in, data on stdout, everything else on stderr. It translates and never decides."""
