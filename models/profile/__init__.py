"""Profiles of any NKI kernel without running values: exports, pictures and pages made of its predicted timeline."""
