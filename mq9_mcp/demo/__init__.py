"""The demo: real programs, real kills, letters of real people, and every promise checked."""
