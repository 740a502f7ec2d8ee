"""What `tf run` is made of: wishes, output, the record for scripts, functions. Uses the SDK as any program does."""
