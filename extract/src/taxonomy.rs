//! The definition of a taxonomy.
