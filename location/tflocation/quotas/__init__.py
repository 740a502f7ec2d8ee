"""What an account may have at most: how it is written, where it is kept, and who refuses what is beyond it."""
