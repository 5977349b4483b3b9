//! Records: any table of the catalog by its path.

pub mod shape;
