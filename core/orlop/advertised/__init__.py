"""What runtimes say of themselves: features documents, read, examined, compared and relied on."""
