"""A whole federation on one machine: real processes, real certificates, real photographs, one command."""
