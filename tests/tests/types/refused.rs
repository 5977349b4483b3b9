//! What one side cannot hold.
