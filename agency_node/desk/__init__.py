"""The desk: where an agency's own people ask. Pure steps (intake, seal, submit, follow, open, merge) with thin I/O."""
