"""Where calls come in: words in, words out; nothing is decided here."""
