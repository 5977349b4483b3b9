//! Two rows that are one.
