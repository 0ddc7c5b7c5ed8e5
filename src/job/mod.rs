//! Jobs: how one changes ([`state`], [`decide`]), and when a step is tried again ([`retry`]).

pub mod decide;
pub mod retry;
pub mod state;

#[cfg(test)]
mod decide_tests;
