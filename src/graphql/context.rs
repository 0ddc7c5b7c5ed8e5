//! Context of a resolver: the application, the viewer, and the loaders of the request.

use std::sync::Arc;

use async_graphql::Context;

use super::budget::Budget;
use super::loader::Loaders;
use crate::access::{Actor, Viewer};
use crate::app::App;
use crate::error::{Error, Result};
use crate::job::queue::external::Caller;

/// Access to the data of a request in a resolver.
pub(super) trait RequestContext {
    fn app(&self) -> Result<&App>;
    fn loaders(&self) -> Result<&Loaders>;
    fn viewer(&self) -> Result<&Viewer>;
    fn budget(&self) -> Result<&Budget>;
    fn caller(&self) -> Result<&Caller>;

    fn actor(&self) -> Result<&Actor> {
        self.viewer()?.require_actor()
    }
}

impl RequestContext for Context<'_> {
    fn app(&self) -> Result<&App> {
        self.data::<App>().map_err(|error| missing_data(&error))
    }

    fn loaders(&self) -> Result<&Loaders> {
        self.data::<Loaders>().map_err(|error| missing_data(&error))
    }

    fn viewer(&self) -> Result<&Viewer> {
        self.data::<Viewer>().map_err(|error| missing_data(&error))
    }

    fn budget(&self) -> Result<&Budget> {
        self.data::<Arc<Budget>>().map(AsRef::as_ref).map_err(|error| missing_data(&error))
    }

    fn caller(&self) -> Result<&Caller> {
        self.data::<Caller>().map_err(|error| missing_data(&error))
    }
}

fn missing_data(error: &async_graphql::Error) -> Error {
    Error::Internal(format!("request context is incomplete: {}", error.message))
}
