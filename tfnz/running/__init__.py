"""What `tf run` is made of: wishes, output, signals, the record for scripts. Uses the SDK as any program does."""
