//! Progress for people: a bar on a terminal, or otherwise a line for every relevant change.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::printable;
use super::{Job, JobStatus};

/// Length of the progress bar of a job.
const BAR_LENGTH: u64 = 1000;
/// Minimum progress, as a fraction of the whole, for a new line without any other change.
const MIN_LINE_PROGRESS: f64 = 0.1;
/// Interval at which the elapsed time beside the bar is redrawn.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

const UPLOAD_BAR: &str = "{spinner} {bar:30} {bytes} of {total_bytes} at {bytes_per_sec} {wide_msg}";
const UPLOAD_COUNT: &str = "{spinner} {bytes} at {bytes_per_sec} {wide_msg}";
const JOB_BAR: &str = "{spinner} {bar:30} {percent:>3}% {elapsed} {wide_msg}";

/// The output of progress and results.
pub struct Console<'w> {
    lines: &'w mut dyn Write,
    bar: Option<ProgressBar>,
    printed: Option<PrintedState>,
}

/// The state of the job at the last printed line.
#[derive(PartialEq)]
struct PrintedState {
    status: JobStatus,
    step: Option<(String, i64)>,
    fraction: f64,
}

impl<'w> Console<'w> {
    /// Creates a console that prints progress as lines.
    pub fn lines(lines: &'w mut dyn Write) -> Self {
        Self { lines, bar: None, printed: None }
    }

    /// Creates a console that draws progress as a bar on standard error and prints the rest as lines. If standard error
    /// is not a terminal, it prints everything as lines.
    pub(crate) fn with_bar(lines: &'w mut dyn Write) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // Hidden until there is progress.
        bar.finish_and_clear();
        Self { lines, bar: (!bar.is_hidden()).then_some(bar), printed: None }
    }

    /// Prints text, above the bar if there is one.
    pub(crate) fn print_line(&mut self, text: &str) -> io::Result<()> {
        let lines = &mut self.lines;
        let mut print = || {
            writeln!(lines, "{text}")?;
            lines.flush()
        };
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Shows an upload. Call the result with the number of bytes sent so far.
    pub(crate) fn show_upload(&mut self, name: &str, size: Option<u64>) -> impl Fn(u64) + Send + 'static {
        if let Some(bar) = &self.bar {
            bar.set_style(style(if size.is_some() { UPLOAD_BAR } else { UPLOAD_COUNT }));
            if let Some(size) = size {
                bar.set_length(size);
            }
            bar.set_message(printable(name).into_owned());
            bar.reset();
            bar.enable_steady_tick(TICK_INTERVAL);
        }
        let bar = self.bar.clone();
        move |sent| {
            if let Some(bar) = &bar {
                bar.set_position(sent);
            }
        }
    }

    /// Shows the state of a job.
    pub(crate) fn show_job(&mut self, job: &Job) -> io::Result<()> {
        let now = PrintedState {
            status: job.status.clone(),
            step: job.current_step.as_ref().map(|step| (step.name.clone(), step.attempt)),
            fraction: job.progress.fraction,
        };
        let is_first = self.printed.is_none();
        let (becomes_blocked, needs_line) = match &self.printed {
            None => (job.status == JobStatus::Blocked, true),
            Some(printed) => {
                let same = printed.status == now.status && printed.step == now.step;
                (
                    job.status == JobStatus::Blocked && !same,
                    !same || now.fraction - printed.fraction >= MIN_LINE_PROGRESS,
                )
            }
        };
        if let Some(bar) = &self.bar {
            if is_first {
                // The cleared bar of the upload must not reappear before this one replaces it.
                bar.set_style(style(JOB_BAR));
                bar.set_message(describe(job));
                bar.set_length(BAR_LENGTH);
                bar.reset();
                bar.enable_steady_tick(TICK_INTERVAL);
            }
            bar.set_position(bar_position(job.progress.fraction));
            bar.set_message(describe(job));
        } else if needs_line {
            self.print_line(&format!("{:>3}%  {}", percent(job.progress.fraction), describe(job)))?;
        }
        if becomes_blocked {
            self.print_line(&person_needed(job))?;
        }
        if needs_line {
            self.printed = Some(now);
        }
        Ok(())
    }

    /// Removes the bar.
    pub fn clear(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.printed = None;
    }
}

/// Formats a number of bytes for people.
pub fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// Parses a template; all templates are constants, and a test parses each.
fn style(template: &str) -> ProgressStyle {
    match ProgressStyle::with_template(template) {
        Ok(style) => style.progress_chars("##-"),
        Err(_) => ProgressStyle::default_bar(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and BAR_LENGTH")]
fn bar_position(fraction: f64) -> u64 {
    (fraction.clamp(0.0, 1.0) * BAR_LENGTH as f64).round() as u64
}

fn percent(fraction: f64) -> u64 {
    bar_position(fraction) * 100 / BAR_LENGTH
}

/// Describes a job by its status, its step and the message of the step.
fn describe(job: &Job) -> String {
    let mut text = job.status.to_string();
    let Some(step) = &job.current_step else { return text };
    text.push_str("  ");
    text.push_str(&printable(&step.name));
    if step.attempt > 1 {
        text.push_str(&format!(" (attempt {} of {})", step.attempt, step.max_attempts));
    }
    if let Some(message) = step.message.as_deref().filter(|message| !message.is_empty()) {
        text.push_str(": ");
        text.push_str(&printable(message));
    }
    text
}

fn person_needed(job: &Job) -> String {
    let step = job.review.as_ref().map(|review| review.step.as_str());
    let step = step.or(job.current_step.as_ref().map(|step| step.name.as_str())).unwrap_or("its step");
    match &job.review {
        Some(review) => format!(
            "A person is needed at step {}: {} (review {}). Waiting.",
            printable(step),
            printable(review.reason.trim_end_matches('.')),
            printable(&review.id)
        ),
        None => format!("A person with access to step {} is needed. Waiting.", printable(step)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(status: &str, fraction: f64, step: Option<(&str, u32, &str)>) -> Job {
        let step = step.map(|(name, attempt, message)| {
            json!({"name": name, "title": name, "status": "RUNNING", "attempt": attempt, "maxAttempts": 3, "message": message})
        });
        let document = json!({"id": "d", "name": "a", "type": "text/plain", "size": 1, "sha256": "00"});
        serde_json::from_value(json!({
            "id": "j", "type": {"id": "noop"}, "status": status,
            "progress": {"current": 0, "total": 4, "fraction": fraction},
            "currentStep": step, "review": null, "failure": null,
            "inputContent": {"document": document}, "outputContent": null,
        }))
        .unwrap()
    }

    fn printed_lines(states: &[Job]) -> String {
        let mut out = Vec::new();
        let mut console = Console::lines(&mut out);
        for state in states {
            console.show_job(state).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn line_is_printed_for_every_relevant_change() {
        let lines = printed_lines(&[
            job("QUEUED", 0.0, Some(("mapping", 1, ""))),
            job("RUNNING", 0.0, Some(("mapping", 1, "page 1"))),
            job("RUNNING", 0.05, Some(("mapping", 1, "page 2"))),
            job("RUNNING", 0.1, Some(("mapping", 1, "page 3"))),
            job("RUNNING", 0.1, Some(("mapping", 2, "page 1"))),
            job("COMPLETED", 1.0, None),
        ]);
        assert_eq!(
            lines,
            "  0%  QUEUED  mapping\n  0%  RUNNING  mapping: page 1\n 10%  RUNNING  mapping: page 3\n \
             10%  RUNNING  mapping (attempt 2 of 3): page 1\n100%  COMPLETED\n"
        );
    }

    #[test]
    fn blocked_job_reports_the_needed_person_once() {
        let mut blocked = job("BLOCKED", 0.5, Some(("mapping", 1, "")));
        let lines = printed_lines(&[blocked.clone(), blocked.clone()]);
        assert_eq!(
            lines,
            " 50%  BLOCKED  mapping\nA person with access to step mapping is needed. Waiting.\n"
        );
        blocked.review =
            serde_json::from_value(json!({"id": "r", "step": "mapping", "reason": "2 values\nunsure"}))
                .unwrap();
        assert!(
            printed_lines(&[blocked])
                .contains("needed at step mapping: 2 values unsure (review r). Waiting.\n")
        );
    }

    #[test]
    fn every_template_parses() {
        for template in [UPLOAD_BAR, UPLOAD_COUNT, JOB_BAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn with_a_bar_progress_is_not_printed_as_lines() {
        let mut out = Vec::new();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let mut console = Console { lines: &mut out, bar: Some(bar), printed: None };
        console.show_upload("a.pdf", Some(10))(5);
        console.show_job(&job("RUNNING", 0.5, None)).unwrap();
        console.print_line("done").unwrap();
        console.clear();
        assert_eq!(String::from_utf8(out).unwrap(), "done\n");
    }

    #[test]
    fn fractions_are_clamped_to_the_bar() {
        assert_eq!([percent(-1.0), percent(0.004), percent(0.5), percent(7.0)], [0, 0, 50, 100]);
    }
}
