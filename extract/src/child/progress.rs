//! Reports progress to the parent and extends the CPU time with each finished page.

use std::time::{Duration, Instant};

use super::limits::Limits;
use super::protocol::Message;
use super::sandbox;

/// Least time between two reports to the parent.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Turns the shares that readers report into progress messages.
#[derive(Debug)]
pub(super) struct ProgressReporter<'l> {
    limits: &'l Limits,
    input_bytes: u64,
    /// Parts of the document. The first report comes when the first part is done, which tells their number.
    total: Option<u32>,
    reported_at: Option<Instant>,
}

impl<'l> ProgressReporter<'l> {
    pub(super) fn new(limits: &'l Limits, input_bytes: u64) -> Self {
        Self { limits, input_bytes, total: None, reported_at: None }
    }

    /// Reports the share of the document that is done, 0 to 1.
    pub(super) fn report(&mut self, share: f32) {
        if share <= 0.0 {
            return;
        }
        let total = *self.total.get_or_insert((1.0 / share).round() as u32);
        if self.reported_at.is_some_and(|reported_at| reported_at.elapsed() < REPORT_INTERVAL) && share < 1.0
        {
            return;
        }
        self.reported_at = Some(Instant::now());
        let done = (share * total as f32).round() as u32;
        sandbox::allow_cpu(self.limits, self.input_bytes, done);
        if (Message::Progress { done, total }).send().is_err() {
            // The parent no longer reads, so it has ended.
            std::process::exit(1);
        }
    }
}
