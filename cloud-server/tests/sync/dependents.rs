//! What hangs from a held row: trees, circles, long chains.
