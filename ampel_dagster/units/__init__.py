"""Units: filters (T0), combiners (T1), what is computed (T2), what is done about it (T3)."""
