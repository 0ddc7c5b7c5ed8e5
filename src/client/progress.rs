//! What a person sees while a job runs: a bar on a terminal, else a line for every change that matters.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::printable;
use super::job::{Job, JobStatus};

/// Parts that the bar of a job has.
const PARTS: u64 = 1000;
/// How far a job gets, as a fraction of the whole, until a line says so though nothing else changed.
const LINE_EVERY: f64 = 0.1;
/// Redraws the clock beside the bar.
const TICK: Duration = Duration::from_millis(250);

const UPLOAD_BAR: &str = "{spinner} {bar:30} {bytes} of {total_bytes} at {bytes_per_sec} {wide_msg}";
const UPLOAD_COUNT: &str = "{spinner} {bytes} at {bytes_per_sec} {wide_msg}";
const JOB_BAR: &str = "{spinner} {bar:30} {percent:>3}% {elapsed} {wide_msg}";

/// Where progress and results are told.
pub struct Console<'w> {
    lines: &'w mut dyn Write,
    bar: Option<ProgressBar>,
    told: Option<Told>,
}

/// What the last line was about.
#[derive(PartialEq)]
struct Told {
    status: JobStatus,
    step: Option<(String, u32)>,
    fraction: f64,
}

impl<'w> Console<'w> {
    /// Tells everything in lines.
    pub fn lines(lines: &'w mut dyn Write) -> Self {
        Self { lines, bar: None, told: None }
    }

    /// Draws progress as a bar on standard error, and tells the rest in lines; where standard error is no terminal, tells
    /// everything in lines.
    pub fn with_bar(lines: &'w mut dyn Write) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // Nothing is drawn until there is progress.
        bar.finish_and_clear();
        Self { lines, bar: (!bar.is_hidden()).then_some(bar), told: None }
    }

    /// Prints lines, above the bar where there is one.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
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

    /// Begins to show an upload; the result is told how many bytes are gone.
    pub fn upload(&mut self, name: &str, size: Option<u64>) -> impl Fn(u64) + Send + 'static {
        if let Some(bar) = &self.bar {
            bar.set_style(style(if size.is_some() { UPLOAD_BAR } else { UPLOAD_COUNT }));
            if let Some(size) = size {
                bar.set_length(size);
            }
            bar.set_message(printable(name).into_owned());
            bar.reset();
            bar.enable_steady_tick(TICK);
        }
        let bar = self.bar.clone();
        move |sent| {
            if let Some(bar) = &bar {
                bar.set_position(sent);
            }
        }
    }

    /// Shows the state of a job.
    pub fn job(&mut self, job: &Job) -> io::Result<()> {
        let now = Told {
            status: job.status,
            step: job.current_step.as_ref().map(|step| (step.name.clone(), step.attempt)),
            fraction: job.progress.fraction,
        };
        let begins = self.told.is_none();
        let (blocks, worth_a_line) = match &self.told {
            None => (job.status == JobStatus::Blocked, true),
            Some(told) => {
                let same = told.status == now.status && told.step == now.step;
                (
                    job.status == JobStatus::Blocked && !same,
                    !same || now.fraction - told.fraction >= LINE_EVERY,
                )
            }
        };
        if let Some(bar) = &self.bar {
            if begins {
                // The upload's bar is cleared; it must not be seen again before this one replaces it.
                bar.set_style(style(JOB_BAR));
                bar.set_message(describe(job));
                bar.set_length(PARTS);
                bar.reset();
                bar.enable_steady_tick(TICK);
            }
            bar.set_position(parts(job.progress.fraction));
            bar.set_message(describe(job));
        } else if worth_a_line {
            self.say(&format!("{:>3}%  {}", percent(job.progress.fraction), describe(job)))?;
        }
        if blocks {
            self.say(&person_needed(job))?;
        }
        if worth_a_line {
            self.told = Some(now);
        }
        Ok(())
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.told = None;
    }
}

/// A number of bytes as people say it.
pub fn size(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A template as a style; these are constants, and a test draws each.
fn style(template: &str) -> ProgressStyle {
    match ProgressStyle::with_template(template) {
        Ok(style) => style.progress_chars("##-"),
        Err(_) => ProgressStyle::default_bar(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and PARTS")]
fn parts(fraction: f64) -> u64 {
    (fraction.clamp(0.0, 1.0) * PARTS as f64).round() as u64
}

fn percent(fraction: f64) -> u64 {
    parts(fraction) * 100 / PARTS
}

/// Status, step and what the step says.
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

    fn told(states: &[Job]) -> String {
        let mut out = Vec::new();
        let mut console = Console::lines(&mut out);
        for state in states {
            console.job(state).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_printed_for_what_matters() {
        let told = told(&[
            job("QUEUED", 0.0, Some(("mapping", 1, ""))),
            job("RUNNING", 0.0, Some(("mapping", 1, "page 1"))),
            job("RUNNING", 0.05, Some(("mapping", 1, "page 2"))),
            job("RUNNING", 0.1, Some(("mapping", 1, "page 3"))),
            job("RUNNING", 0.1, Some(("mapping", 2, "page 1"))),
            job("COMPLETED", 1.0, None),
        ]);
        assert_eq!(
            told,
            "  0%  QUEUED  mapping\n  0%  RUNNING  mapping: page 1\n 10%  RUNNING  mapping: page 3\n \
             10%  RUNNING  mapping (attempt 2 of 3): page 1\n100%  COMPLETED\n"
        );
    }

    #[test]
    fn a_blocked_job_says_who_is_needed_once() {
        let mut blocked = job("BLOCKED", 0.5, Some(("mapping", 1, "")));
        let unseen = told(&[blocked.clone(), blocked.clone()]);
        assert_eq!(
            unseen,
            " 50%  BLOCKED  mapping\nA person with access to step mapping is needed. Waiting.\n"
        );
        blocked.review =
            serde_json::from_value(json!({"id": "r", "step": "mapping", "reason": "2 values\nunsure"}))
                .unwrap();
        assert!(told(&[blocked]).contains("needed at step mapping: 2 values unsure (review r). Waiting.\n"));
    }

    #[test]
    fn every_template_is_sound() {
        for template in [UPLOAD_BAR, UPLOAD_COUNT, JOB_BAR] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn with_a_bar_only_what_lasts_is_printed_in_lines() {
        let mut out = Vec::new();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let mut console = Console { lines: &mut out, bar: Some(bar), told: None };
        console.upload("a.pdf", Some(10))(5);
        console.job(&job("RUNNING", 0.5, None)).unwrap();
        console.say("done").unwrap();
        console.clear();
        assert_eq!(String::from_utf8(out).unwrap(), "done\n");
    }

    #[test]
    fn fractions_stay_on_the_bar() {
        assert_eq!([percent(-1.0), percent(0.004), percent(0.5), percent(7.0)], [0, 0, 50, 100]);
    }
}
