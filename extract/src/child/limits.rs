//! Limits of one child process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits as document;

/// Resources that one child process may use for one document.
///
/// A document that exceeds a limit is refused with
/// [`Code::DocumentTooComplex`](crate::failure::Code::DocumentTooComplex) and a message that names the limit.
///
/// Time is CPU time, so that a busy machine refuses no document that an idle one reads. Each finished page adds time:
/// long documents may take long, and a page without end is still found soon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Limits of the readers.
    pub document: document::Limits,
    /// Limits of a taxonomy.
    pub taxonomy: crate::taxonomy::Limits,
    /// Limits of the keyword extraction.
    pub keywords: crate::keywords::Limits,
    /// Bytes of memory beyond the program itself. Default 1 GiB.
    pub memory_bytes: u64,
    /// Bytes of the stack, which deeply nested documents fill. Default 64 MiB; only the used part takes memory.
    pub stack_bytes: usize,
    /// Bytes of each output. Default 512 MiB.
    pub output_bytes: u64,
    /// Seconds of CPU time for any document. Default 10.
    pub cpu_seconds: f64,
    /// Additional seconds of CPU time for each MiB of input. Default 2.
    pub cpu_seconds_per_mib: f64,
    /// Additional seconds of CPU time for each finished page (of an ePub: chapter). Default 0.5.
    pub cpu_seconds_per_page: f64,
    /// Seconds of wall-clock time for each second of CPU time, to allow for a busy machine. Default 4.
    pub wall_factor: f64,
    /// Pages of one document that are read by OCR. Default 500.
    pub ocr_pages: usize,
    /// Seconds of CPU time for the OCR of one page. Default 60.
    pub ocr_cpu_seconds: f64,
    /// Bytes of memory for the OCR of one page. Default 2 GiB.
    pub ocr_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: document::Limits::default(),
            taxonomy: crate::taxonomy::Limits::default(),
            keywords: crate::keywords::Limits::default(),
            memory_bytes: 1 << 30,
            stack_bytes: 64 << 20,
            output_bytes: 512 << 20,
            cpu_seconds: 10.0,
            cpu_seconds_per_mib: 2.0,
            cpu_seconds_per_page: 0.5,
            wall_factor: 4.0,
            ocr_pages: 500,
            ocr_cpu_seconds: 60.0,
            ocr_memory_bytes: 2 << 30,
        }
    }
}

impl Limits {
    /// Returns the CPU time of a document with this input size and this number of finished pages.
    pub(crate) fn cpu(&self, input_bytes: u64, pages_done: u32) -> Duration {
        let pages = pages_done.min(self.document.pages);
        seconds(
            self.cpu_seconds
                + self.cpu_seconds_per_mib * (input_bytes as f64 / f64::from(1 << 20))
                + self.cpu_seconds_per_page * f64::from(pages),
        )
    }

    /// Returns the wall-clock time for a CPU time.
    pub(crate) fn wall(&self, cpu: Duration) -> Duration {
        seconds(cpu.as_secs_f64() * self.wall_factor)
    }

    /// Returns [`Limits::ocr_cpu_seconds`] as a duration.
    pub(crate) fn ocr_cpu(&self) -> Duration {
        seconds(self.ocr_cpu_seconds)
    }
}

/// Returns a duration between zero and one year, whatever the configuration says.
fn seconds(seconds: f64) -> Duration {
    const YEAR: f64 = 365.0 * 24.0 * 3600.0;
    Duration::from_secs_f64(if seconds.is_nan() { 0.0 } else { seconds.clamp(0.0, YEAR) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_grows_with_size_and_finished_pages() {
        let limits = Limits::default();
        assert_eq!(limits.cpu(0, 0), Duration::from_secs(10));
        assert_eq!(limits.cpu(3 << 20, 100), Duration::from_secs(66));
        assert_eq!(limits.cpu(0, u32::MAX), limits.cpu(0, limits.document.pages));
        assert_eq!(limits.wall(Duration::from_secs(10)), Duration::from_secs(40));
        assert_eq!(seconds(f64::INFINITY), seconds(1e30));
        assert_eq!(seconds(-1.0), Duration::ZERO);
    }

    #[test]
    fn configuration_may_set_single_limits() {
        let limits: Limits = serde_json::from_str(r#"{"cpu_seconds": 3, "document": {"pages": 7}}"#).unwrap();
        assert_eq!((limits.cpu_seconds, limits.document.pages), (3.0, 7));
        assert_eq!(limits.memory_bytes, Limits::default().memory_bytes);
        assert!(serde_json::from_str::<Limits>(r#"{"memory": 3}"#).is_err());
    }
}
