//! Jobs over the API: how they are made, found, changed and ended.

mod control;
mod create;
mod history;
mod list;
