# Completion of tf and its other names: the command itself says how.
tf completion fish | source
