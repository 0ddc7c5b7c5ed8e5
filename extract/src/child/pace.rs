//! How far the child is with a document, told to the parent, and the computing time that finished pages buy.

use std::time::{Duration, Instant};

use super::inside::say;
use super::limits::Limits;
use super::protocol::Message;
use super::sandbox;

/// The parent is told no more often than this.
const INTERVAL: Duration = Duration::from_millis(100);

/// Takes the shares that readers report.
#[derive(Debug)]
pub(super) struct Pace<'l> {
    limits: &'l Limits,
    input_bytes: u64,
    /// Parts that the document has: readers first report when the first of them is done.
    total: Option<u32>,
    told: Option<Instant>,
}

impl<'l> Pace<'l> {
    pub(super) fn new(limits: &'l Limits, input_bytes: u64) -> Self {
        Self { limits, input_bytes, total: None, told: None }
    }

    /// Takes a share of the document that is done, 0 to 1.
    pub(super) fn report(&mut self, share: f32) {
        if share <= 0.0 {
            return;
        }
        let total = *self.total.get_or_insert((1.0 / share).round() as u32);
        if self.told.is_some_and(|told| told.elapsed() < INTERVAL) && share < 1.0 {
            return;
        }
        self.told = Some(Instant::now());
        let done = (share * total as f32).round() as u32;
        sandbox::allow_cpu(self.limits, self.input_bytes, done);
        if say(&Message::Progress { done, total }).is_err() {
            // Nobody listens any more: the parent is gone, and so should this process be.
            std::process::exit(1);
        }
    }
}
