"""Reading and writing the documents of the specification: strict JSON, the codec, versions and schemas."""
