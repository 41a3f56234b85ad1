"""Who is who: SPIFFE ids, keys, certificates, signed statements, join tokens."""
