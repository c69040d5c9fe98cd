"""Pages to signals for people: inputs found, pages digitized by many processes, results written."""
