"""Model families, behind one protocol."""
