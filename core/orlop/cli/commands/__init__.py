"""One module per command; each has ``run(context)``, which returns the exit status."""
