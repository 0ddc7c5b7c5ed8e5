//! Jobs: how one changes ([`state`]), and when a step is tried again ([`retry`]).

pub mod retry;
pub mod state;

#[cfg(test)]
mod state_tests;
